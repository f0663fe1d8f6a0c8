"""Whether a plan ever tears a call from its result: random histories, every strategy, through both frameworks.

Each history grows by a few messages from request to request; calls are parallel, interleaved, abandoned and answered
late, histories are cut back. What is checked are the frameworks' own messages, by their ids, and no code of ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from tokenwise_core.flow import Ask
from tokenwise_core.memory import (
    BlockSummary,
    Decay,
    Dedupe,
    Hybrid,
    Importance,
    Memory,
    NoCut,
    Priority,
    Rates,
    Request,
    Summary,
    ToolResults,
    View,
    Window,
)
from tokenwise_core.memory.plan import Plan
from tokenwise_core.memory.situation import Strategy
from tokenwise_core.messages import Message, ToolCall
from tokenwise_core.tokens import TokenCounter
from tokenwise_langchain.memory.applied import applied
from tokenwise_llamaindex.memory.messages import shown

FULL, USUAL, QUICK = 100_000, 5_000, 200
STRATEGIES: Sequence[Callable[[], Strategy]] = (
    BlockSummary, NoCut, Window, Importance, Summary, lambda: Hybrid(after_turns=2), Decay, Dedupe, Priority,
)  # fmt: skip
RATES = (Rates(), Rates(read=1.0, write=1.0))
_WORDS = ("order", "refund", "£10.90", "Lisbon", "never", "ticket", "ORD-1234", "7 May", "please", "thanks", "why?")


@dataclass(slots=True)
class Found:
    """How many plans were looked at, how many of them changed something, and what was torn."""

    plans: int = 0
    changed: int = 0
    orphans: int = 0
    failures: int = 0


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the row of orphans; *data* is not needed."""
    number = QUICK if quick else FULL if full else USUAL
    found = Found()
    for seed in range(number):
        _history(seed, found)
    note = (
        f"{found.plans:,} requests of random histories, {found.changed:,} of them changed, by {len(STRATEGIES)}"
        " strategies; calls and results counted in the messages of core, LangChain and LlamaIndex; a memory that failed"
        " counts too"
    )
    return [
        {
            "area": "memory",
            "key": "orphans",
            "ours": found.orphans + found.failures,
            "must": 0,
            "goal": 0,
            "better": "lower",
            "unit": "messages",
            "n": number,
            "peers": {},
            "note": note,
        }
    ]


def _history(seed: int, found: Found) -> None:
    """Let one conversation grow, and look at what each request shows."""
    chance = random.Random(seed)
    messages = list(_messages(chance, chance.randint(6, 40)))
    memory = _memory(STRATEGIES[seed % len(STRATEGIES)](), chance)
    view, ask, length = View(), _summariser(chance), 0
    while length < len(messages):
        length = min(len(messages), length + chance.randint(2, 9))
        if chance.random() < 0.05:
            length = chance.randint(1, length)
        now = messages[:length]
        with memory.using("c") as conversation:
            conversation.replace(now)
            prepared = memory.prepare(conversation, view, Request(fixed_tokens=60), ask=ask)
        memory.answered(prepared, ask=ask)
        view = prepared.view
        found.plans += 1
        found.changed += not prepared.plan.changes_nothing
        found.orphans += _orphans(prepared.plan, now)
    found.failures += sum(memory.stats().failures.values())


def _memory(strategy: Strategy, chance: random.Random) -> Memory:
    target = chance.choice((120, 250, 500))
    return Memory(
        strategy,
        target_tokens=target,
        max_tokens=chance.choice((None, target, 2 * target)),
        rates=chance.choice(RATES),
        recall=None,
        counter=TokenCounter(_quarter),
        tool_results=chance.choice((None, ToolResults())),
        summaries=chance.choice(("after_answer", "inline")),
    )


def _quarter(text: str) -> int:
    """Count a quarter of the characters: any count will do here, and this one takes no time."""
    return len(text) // 4 + 1 if text else 0


def _summariser(chance: random.Random) -> Callable[[Ask], str]:
    def ask(question: Ask) -> str:
        if chance.random() < 0.15:
            raise ConnectionError("no line")
        return "" if chance.random() < 0.1 else "- they spoke of an order"

    return ask


def _messages(chance: random.Random, size: int) -> Iterator[Message]:
    """Yield a history: some answer each call at once, in others results come late, interleaved, or never."""
    tidy, waiting, made = chance.random() < 0.4, [], 0
    if chance.random() < 0.7:
        yield Message(role="system", text=_text(chance, 20))
    for _ in range(size):
        kind = chance.random()
        if kind < 0.6:
            yield Message(role="user" if kind < 0.35 else "assistant", text=_text(chance, 40))
        else:
            names = [f"call-{made + n}" for n in range(chance.randint(1, 3))]
            made += len(names)
            calls = tuple(ToolCall(name="look", id=name, arguments="{}") for name in names)
            yield Message(role="assistant", tool_calls=calls)
            waiting += chance.sample(names, len(names))
        while waiting and (tidy or chance.random() < 0.6):
            name = waiting.pop(chance.randrange(len(waiting)))
            yield Message(role="tool", tool_call_id=name, name="look", text=_text(chance, 60))
        if not tidy and chance.random() < 0.02:
            yield Message(role="system", text=_text(chance, 10))


def _text(chance: random.Random, most: int) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randint(1, most)))


def _orphans(plan: Plan, messages: Sequence[Message]) -> int:
    """Return how many calls or results are torn apart in what the model reads: the most of core and both frameworks."""
    pairs = {message.tool_call_id for message in messages if message.role == "tool"}
    if not pairs:
        return 0
    core = _torn(_ids(item[1] for item in plan.shown(messages)), pairs)
    if plan.changes_nothing:
        return core
    chain = applied(plan, [_langchain(message) for message in messages], mark=None, copies={})
    index = shown(plan, [_llamaindex(message) for message in messages], None)
    return max(core, _torn(_langchain_ids(chain), pairs), _torn(_llamaindex_ids(index), pairs))


def _torn(ids: Iterable[tuple[str, str]], pairs: set[str | None]) -> int:
    """Return how many of *pairs* are there with one side only, or with the result before its call."""
    calls: set[str] = set()
    results: set[str] = set()
    early = 0
    for kind, name in ids:
        early += kind == "result" and name not in calls
        (calls if kind == "call" else results).add(name)
    return early + len((calls & pairs) - results)


def _ids(messages: Iterable[Message | None]) -> Iterator[tuple[str, str]]:
    for message in messages:
        if message is not None:
            yield from (("call", call.id or "") for call in message.tool_calls)
            if message.tool_call_id:
                yield "result", message.tool_call_id


def _langchain(message: Message) -> BaseMessage:
    if message.role == "tool":
        return ToolMessage(content=message.text, tool_call_id=message.tool_call_id or "")
    if message.role == "assistant":
        calls = [{"name": call.name, "args": {}, "id": call.id, "type": "tool_call"} for call in message.tool_calls]
        return AIMessage(content=message.text, tool_calls=calls)
    return (SystemMessage if message.role == "system" else HumanMessage)(content=message.text)


def _langchain_ids(messages: Iterable[BaseMessage]) -> Iterator[tuple[str, str]]:
    for message in messages:
        if isinstance(message, AIMessage):
            yield from (("call", str(call["id"])) for call in message.tool_calls)
        elif isinstance(message, ToolMessage):
            yield "result", message.tool_call_id


def _llamaindex(message: Message) -> ChatMessage:
    extra: dict[str, Any] = {}
    if message.tool_calls:
        extra["tool_calls"] = [call.id for call in message.tool_calls]
    if message.tool_call_id:
        extra["tool_call_id"] = message.tool_call_id
    return ChatMessage(role=MessageRole(message.role), content=message.text, additional_kwargs=extra)


def _llamaindex_ids(messages: Iterable[ChatMessage]) -> Iterator[tuple[str, str]]:
    for message in messages:
        yield from (("call", name) for name in message.additional_kwargs.get("tool_calls", ()))
        if "tool_call_id" in message.additional_kwargs:
            yield "result", message.additional_kwargs["tool_call_id"]
