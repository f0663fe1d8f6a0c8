"""Whole conversations replayed turn by turn: what they cost beside sending everything, and what stays in the context.

Defined as in the research (memory and context, section 8): each turn of the second speaker is a request, a summary is
150 tokens of output at five times the input price and its request is priced like any other; costs are counted by
`memory_meter.py`, which asks nothing of the product. The summariser says nothing of use ("opaque"), so that what stays
known is what the product itself keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.memory_data import Chat, Question, chats, requests, traces
from benchmarks.memory_identifiers_regex import identifiers, kept, normalised
from benchmarks.memory_meter import A, B, C, Line, Meter, Price
from benchmarks.memory_texts import MISSING, embedder, message_tokens, text_tokens
from tokenwise_core.flow import Ask
from tokenwise_core.memory import BlockSummary, Keep, Memory, Plan, Rates, Recall, Request, ToolResults, View
from tokenwise_core.memory.request import Prepared
from tokenwise_core.memory.sessions import MemorySessions
from tokenwise_core.messages import Message

TARGET, HARD, SUMMARY_TOKENS = 4_000, 32_000, 150
RECALL_TOKENS, RESULT_TOKENS = 850, 120
_BY_WORDS = Recall(embedder=None)
_JUDGED = (1, 2, 3, 4)
_ID = re.compile(r"(?:recall\([\"']|kept as [\"']|id \")([0-9a-f]{12})")
_PATIENT_MS = 60_000
_NOTE = (
    "target 4,000, hard 32,000, summary 150 tokens; no TTL. The pins' ceiling, the tail (1/32 of the target) and ε "
    "(.048) were chosen in sight of these conversations"
)


@dataclass(slots=True)
class Replay:
    """One conversation's way: what it cost us and sending everything, the worst stop, the last context."""

    ours: Meter
    everything: Meter
    worst: float = 0.0
    summaries: int = 0
    recalled: int = 0
    recall: list[float] = field(default_factory=list)
    last: Prepared | None = None
    messages: list[Message] = field(default_factory=list)

    @property
    def relative(self) -> float:
        return self.ours.cost / self.everything.cost


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures of all replays; *quick* takes fewer conversations."""
    talks = chats(data)[: 2 if quick else None]
    runs = [run for run in traces(data, message_tokens) if any(requests(run.messages))][: 20 if quick else None]
    if not talks or not runs:
        return [_figure(key, None, note=MISSING) for key in _FLOORS]
    long = {price.name: [replay(talk, price) for talk in talks] for price in (A, B, C)}
    short = {price.name: [replay(run, price) for run in runs] for price in (A, B, C)}
    both = [*long["A"], *long["C"], *short["A"], *short["C"]]
    tight = {price.name: [replay(talk, price, hard=TARGET) for talk in talks] for price in (A, C)}
    from benchmarks.memory_peers import replay_peers  # the frameworks, which are slow to import

    peers = replay_peers(talks, A, limit=TARGET)
    rows = [
        _figure("replay.long_chat_cost", _cost(long["A"]), n=len(talks), peers=peers.cost, note=_NOTE),
        _figure("replay.max_relative_cost", max(r.relative for r in both), n=len(both), peers=peers.relative, note=_OF),
        _figure(
            "replay.worst_stop",
            max(r.worst for r in both),
            n=sum(len(r.ours.by_request) for r in both),
            peers=peers.worst,
            note=_OF,
        ),
        _figure("replay.cached_share", _cached(long["A"]), n=len(talks)),
        _figure("replay.long_chat_cost.uncached", _cost(long["C"]), n=len(talks)),
        _figure("replay.long_chat_cost.price_b", _cost(long["B"]), n=len(talks)),
        _figure("replay.max_relative_cost.price_b", max(r.relative for r in [*long["B"], *short["B"]]), n=len(both)),
        _figure("replay.hard_4000.long_chat_cost", _cost(tight["A"]), n=len(talks), note=_TIGHT),
        _figure("replay.hard_4000.max_relative_cost", max(r.relative for r in [*tight["A"], *tight["C"]])),
    ]
    rows += [*_identifiers(long["A"], short["A"]), _results(runs)]
    return [*rows, *_joint(talks)]


_OF = "the peers' on LoCoMo under A; ours on both data sets under A and C"
_TIGHT = (
    "the hard limit cannot wait for a summary: most blocks give way to their own sentences, which cost nothing to make"
)


# Replaying ------------------------------------------------------------------------------------------------------------


def replay(
    chat: Chat, price: Price, *, hard: int = HARD, recall: Recall | None = None, questions: Sequence[Question] = ()
) -> Replay:
    """Send *chat* request by request through a real `Memory`, then each of *questions* as a turn."""
    memory = memory_for(price, hard=hard, recall=recall)
    done = Replay(ours=Meter(price), everything=Meter(price), messages=list(chat.messages))
    view = View()
    for at in requests(chat.messages):
        view = _request(memory, chat, view, at, done)
    for question in questions:
        _say(done, "user", question.text)
        view = _request(memory, chat, view, len(done.messages), done)
        assert done.last is not None
        slot = view.slot.positions if view.slot else ()
        shown = {*done.last.plan.positions, *slot}
        done.recall.append(sum(at in shown for at in question.evidence) / len(question.evidence))
        _say(done, "assistant", question.answer)
    memory.close()
    return done


def memory_for(price: Price, *, hard: int, recall: Recall | None) -> Memory:
    """Return the configuration of all these figures."""
    return Memory(
        BlockSummary(summary_tokens=SUMMARY_TOKENS),
        target_tokens=TARGET,
        max_tokens=hard,
        recall=recall,
        sessions=MemorySessions(),
        rates=Rates(
            read=price.read, write=price.write, output=price.output, min_tokens=price.least, granularity=price.step
        ),
        deadline_ms=_PATIENT_MS,
        clock=lambda: 0.0,
    )


def _request(memory: Memory, chat: Chat, view: View, at: int, done: Replay) -> View:
    """Make the request before the message at *at*; a summary that it begins is there before the next one."""
    with memory.using(chat.id) as conversation:
        conversation.sync(len(conversation), done.messages[len(conversation) : at])
        prepared = memory.prepare(conversation, view, Request(fixed_tokens=chat.fixed))
    lines = list(_lines(prepared.plan, done.messages))
    done.ours.request(chat.fixed, lines)
    done.everything.request(chat.fixed, [(f"m{i}", message_tokens(done.messages[i])) for i in range(at)])

    def summarise(ask: Ask) -> str:
        done.summaries += 1
        assert ask.instruction is not None
        asked = [*lines, (f"instruction {done.summaries}", text_tokens(ask.instruction) + 4)]
        done.ours.request(chat.fixed, asked, output=SUMMARY_TOKENS, remember=False)
        return opaque(done.summaries)

    memory.answered(prepared, ask=summarise)
    memory.drain()
    done.worst = max(done.worst, done.relative)
    done.recalled += bool(prepared.view.slot and prepared.view.slot.text)
    done.last = prepared
    return prepared.view


def _lines(plan: Plan, messages: Sequence[Message]) -> Iterator[Line]:
    for part, at in plan.shown(range(len(messages))):
        if isinstance(part, Keep):
            assert at is not None
            yield f"m{at}", message_tokens(messages[at])
        else:
            yield part.text, text_tokens(part.text) + 4


def _say(done: Replay, role: Any, text: str) -> None:
    before = done.messages[-1].at or 0.0
    done.messages.append(Message(role=role, text=text, index=len(done.messages), at=before + 10.0))


def opaque(number: int) -> str:
    """Return a text of 150 tokens that says nothing."""
    head = f"Summary number {number}"
    return head + " opaque" * (SUMMARY_TOKENS - text_tokens(head))


# Figures --------------------------------------------------------------------------------------------------------------

_FLOORS: dict[str, tuple[float | None, float | None, str]] = {
    "replay.long_chat_cost": (0.42, 0.33, "lower"),
    "replay.max_relative_cost": (1.04, 1.03, "lower"),
    "replay.worst_stop": (1.20, 1.05, "lower"),
    "replay.cached_share": (0.985, 0.995, "higher"),
    "replay.joint_cost": (0.50, 0.43, "lower"),
    "replay.joint_recall": (0.80, 0.86, "higher"),
    "identifiers.kept": (0.97, 0.99, "higher"),
}


def _figure(
    key: str,
    ours: float | None,
    *,
    n: int | None = None,
    peers: dict[str, float] | None = None,
    note: str = "",
    better: str = "lower",
) -> dict[str, Any]:
    must, goal, better = _FLOORS.get(key, (None, None, better))
    return {
        "area": "memory", "key": key, "ours": None if ours is None else round(ours, 4), "must": must, "goal": goal,
        "unit": "fraction", "better": better, "peers": peers or {}, "n": n, "note": note,
    }  # fmt: skip


def _cost(runs: Sequence[Replay]) -> float:
    return sum(run.ours.cost for run in runs) / sum(run.everything.cost for run in runs)


def _cached(runs: Sequence[Replay]) -> float:
    again = sum(run.ours.sent - run.ours.first for run in runs)
    return sum(run.ours.cached for run in runs) / again


def _identifiers(long: Sequence[Replay], short: Sequence[Replay]) -> list[dict[str, Any]]:
    """Look for what user and assistant wrote in the last context, by the benchmark's own expressions."""
    said = stays = 0
    for run in (*long, *short):
        assert run.last is not None
        messages = run.last.situation.conversation.messages
        shown = normalised(_text(run.last.plan, messages))
        for value in {v for m in messages if m.role in ("user", "assistant") for v in identifiers(m.text)}:
            said += 1
            stays += kept(value, shown)
    note = "LoCoMo and the traces in the configuration of replay.long_chat_cost; the summaries say nothing, pins do"
    return [_figure("identifiers.kept", stays / said, n=said, note=note)]


def _results(runs: Sequence[Chat]) -> dict[str, Any]:
    """Send the traces with results shortened to a few tokens; ask for what is missing as the tool `recall` does."""
    there = found = 0
    for chat in runs:
        memory = Memory(tool_results=ToolResults(max_tokens=RESULT_TOKENS), recall=_BY_WORDS, target_tokens=TARGET)
        view = View()
        for at in requests(chat.messages):
            with memory.using(chat.id) as conversation:
                conversation.sync(len(conversation), chat.messages[len(conversation) : at])
                prepared = memory.prepare(conversation, view, Request(fixed_tokens=chat.fixed))
            view = prepared.view
            memory.answered(prepared)
        memory.drain()
        shown = _text(prepared.plan, chat.messages)
        reached = "\n".join(memory.original(chat.id, name) or "" for name in dict.fromkeys(_ID.findall(shown)))
        whole = normalised(f"{shown}\n{reached}")
        for value in {v for m in chat.messages[:at] if m.role == "tool" for v in identifiers(m.text)}:
            there += 1
            found += kept(value, whole) or kept(value, normalised(memory.recalled(conversation, view, value)))
    note = f"traces, results shortened to {RESULT_TOKENS} tokens: in the context, or returned by the tool `recall`"
    return _figure("identifiers.in_results_reachable", found / there, n=there, better="higher", note=note)


def _text(plan: Plan, messages: Sequence[Message]) -> str:
    return "\n".join(
        messages[at].text if isinstance(part, Keep) and at is not None else getattr(part, "text", "")
        for part, at in plan.shown(range(len(messages)))
    )


def _joint(talks: Sequence[Chat]) -> list[dict[str, Any]]:
    """Replay with recall, then ask each question of categories 1–4; and the same with recall on every turn."""
    rows = []
    for when, suffix in (("questions", ""), ("always", ".every_turn")):
        recall = Recall(max_tokens=RECALL_TOKENS, embedder=embedder(), when=when)  # type: ignore[arg-type]
        runs = [replay(talk, A, recall=recall, questions=_asked(talk)) for talk in talks]
        found = [one for run in runs for one in run.recall]
        note = f"at most {RECALL_TOKENS} tokens a turn; recalled on {sum(r.recalled for r in runs)} turns"
        rows += [
            _figure(f"replay.joint_cost{suffix}", _cost(runs), n=len(found), note=note),
            _figure(f"replay.joint_recall{suffix}", sum(found) / len(found), n=len(found), better="higher"),
        ]
    return rows


def _asked(talk: Chat) -> list[Question]:
    return [question for question in talk.questions if question.category in _JUDGED and question.evidence]
