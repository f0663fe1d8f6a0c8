"""A conversation's life, request by request, through `Memory`; what each request shows is looked at from outside."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tokenwise_core.flow import Ask
from tokenwise_core.memory import Memory, Rates, Request, View
from tokenwise_core.memory.buffer import BlockSummary
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.cutting import leaving
from tokenwise_core.memory.plan import Keep, Put
from tokenwise_core.memory.request import Prepared
from tokenwise_core.memory.situation import Strategy
from tokenwise_core.memory.strategies import Decay, Dedupe, Hybrid, Importance, NoCut, Priority, Summary, Window
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.messages import Message
from tokenwise_core.tokens import TokenCounter

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "block summary": BlockSummary,
    "no cut": NoCut,
    "window": Window,
    "importance": Importance,
    "summary": Summary,
    "hybrid": lambda: Hybrid(after_turns=2),
    "decay": Decay,
    "dedupe": Dedupe,
    "priority": Priority,
}
RATES = {"A": Rates(), "C": Rates(read=1.0, write=1.0), "steps": Rates(min_tokens=256, granularity=128)}

ORDINARY = 1_000
"""Soft limits below are for laws of form: what a summary takes beyond what was expected weighs too much there."""


def words(text: str) -> int:
    """Count as a tokeniser might, at once: laws hold for any count."""
    return len(text) // 4 + 1 if text else 0


WORDS = TokenCounter(words, model="words")


@dataclass
class Life:
    """One conversation with one memory; *requests* holds what was prepared, *problems* what no plan may do."""

    memory: Memory
    id: str = "c"
    fixed: int = 60
    view: View = field(default_factory=View)
    shown: list[Any] = field(default_factory=list)
    slot: Any = None
    problems: list[str] = field(default_factory=list)
    requests: list[Prepared] = field(default_factory=list)
    ask: Callable[[Ask], str] | None = None
    trips_over_json: bool = False

    def request(self, messages: Sequence[Message], **options: Any) -> Prepared:
        """Send *messages*; note what is wrong with what is shown."""
        view = View.from_dict(self.view.to_dict()) if self.trips_over_json else self.view
        with self.memory.using(self.id) as conversation:
            conversation.replace(messages)
            prepared = self.memory.prepare(
                conversation, view, Request(fixed_tokens=self.fixed, **options), ask=self.ask
            )
            self.problems += torn(prepared, conversation)
            self.problems += dropped(prepared, conversation, self.memory.pin)
            self.problems += too_long(prepared)
            if not any("late result" in one.outcome.reason for one in (*self.requests, prepared)):
                self.problems += too_dear(prepared)  # a unit that a late result has joined is shown, whatever it costs
            now = rendered(prepared, messages)
            slot = prepared.view.slot and (prepared.view.slot.turn, prepared.view.slot.text)
            if now[: len(self.shown)] != self.shown and not prepared.outcome.reason and slot == self.slot:
                self.problems.append("the prefix broke without a reason")
        self.view, self.shown, self.slot = prepared.view, now, slot
        self.requests.append(prepared)
        return prepared

    def answer(self, prepared: Prepared) -> None:
        """Let the answer have come."""
        self.memory.answered(prepared, ask=self.ask)


def rendered(prepared: Prepared, messages: Sequence[Message]) -> list[Any]:
    """Return what the model reads, message by message."""
    out: list[Any] = []
    for part, message in prepared.plan.shown(messages):
        out.append(message if isinstance(part, Keep) else (part.text, message and message.role))
    return out


def torn(prepared: Prepared, conversation: Conversation) -> list[str]:
    """Return what is wrong with the calls and results that are shown."""
    shown = prepared.plan.positions
    found = [] if list(shown) == sorted(set(shown)) else ["messages are shown twice or out of order"]
    there = set(shown)
    called: dict[str, int] = {}
    for at, message in enumerate(conversation.messages):
        called.update({call.id: at for call in message.tool_calls if call.id})
        made = called.get(message.tool_call_id or "") if message.role == "tool" else None
        if made is not None and (made in there) != (at in there):
            found.append(f"the call at {made} and its result at {at} are torn apart")
    return found + _between(prepared, conversation)


def _between(prepared: Prepared, conversation: Conversation) -> list[str]:
    """Return where a message of ours stands between a call and the results that follow it directly."""
    at, found = 0, []
    for part in prepared.plan.parts:
        if isinstance(part, Put):
            if 0 < at < len(conversation) and conversation.messages[at].role == "tool":
                found.append(f"a message of ours stands before the result at {at}")
        else:
            at = part.stop if isinstance(part, Keep) else part.position + 1
    return found


def dropped(prepared: Prepared, conversation: Conversation, pin: Callable[[Message], bool] | None) -> list[str]:
    """Return what is not shown though it must be."""
    there = set(prepared.plan.positions)
    must = [
        at
        for at, message in enumerate(conversation.messages)
        if message.role in ("system", "developer") or (pin is not None and pin(message)) or at == conversation.last_user
    ]
    return [f"{conversation.messages[at].role} at {at} is not shown" for at in must if at not in there]


def too_long(prepared: Prepared) -> list[str]:
    """Return whether the hard limit is exceeded and no note says by how much."""
    situation = prepared.situation
    limit = situation.limits.max_tokens
    total = situation.total(prepared.plan)
    if limit is None or total <= limit:
        return []
    if any(f"by {total - limit}:" in note for note in prepared.outcome.notes):
        gone = leaving(prepared.situation, keep=0)[:-1]
        return [f"{len(gone)} units could have gone"] if gone else []
    return [f"{total} tokens are sent, {limit} is the limit: {prepared.outcome.notes}"]


def too_dear(prepared: Prepared, epsilon: float = 0.05) -> list[str]:
    """Return whether more was spent than the guard allows where no hard limit forced it."""
    account, situation = prepared.view.account, prepared.situation
    if situation.limits.max_tokens is not None or situation.limits.target < ORDINARY:
        return []
    if situation.rates.granularity > 1 or account.allows(0.0, epsilon=epsilon):
        return []  # steps of a cache round either way
    return [f"{account.ours:.0f} was spent, sending everything would have cost {account.everything:.0f}"]


def memory_of(strategy: Strategy, chance: random.Random, **options: Any) -> Memory:
    """Return a memory with limits by chance."""
    target = chance.choice((120, 250, 500))
    given: dict[str, Any] = {
        "target_tokens": target,
        "max_tokens": chance.choice((None, target, 2 * target, 4 * target)),
        "rates": chance.choice(list(RATES.values())),
        "recall": None,
        "counter": WORDS,
        "tool_results": chance.choice((None, ToolResults())),
        "summaries": chance.choice(("background", "after_answer", "inline")),
    }
    return Memory(strategy, **{**given, **options})


def summariser(chance: random.Random) -> Callable[[Ask], str]:
    """Return a model that now and then fails, or says nothing."""

    def ask(question: Ask) -> str:
        luck = chance.random()
        if luck < 0.15:
            raise ConnectionError("no line")
        return "" if luck < 0.25 else f"- they spoke of order {luck:.6f}"

    return ask


def live(
    life: Life, messages: Sequence[Message], chance: random.Random, *, cut_back: bool = True, **options: Any
) -> None:
    """Let the conversation grow, a request now and then, histories cut back and rewritten among them."""
    length = 0
    history = list(messages)
    while length < len(history):
        length = min(len(history), length + chance.randint(1, 4))
        if cut_back and chance.random() < 0.04:
            length = chance.randint(1, length)
        if cut_back and chance.random() < 0.03:
            at = chance.randrange(length)
            if history[at].role in ("user", "assistant") and not history[at].tool_calls:
                history[at] = replace(history[at], text=f"rewritten {chance.random():.3f}")
        prepared = life.request(history[:length], **options)
        if chance.random() < 0.8:
            life.answer(prepared)
        if chance.random() < 0.3:
            life.memory.drain(10.0)
