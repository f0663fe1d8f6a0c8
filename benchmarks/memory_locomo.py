"""LoCoMo: the share of gold evidence turns that stand, verbatim, in a context of a few per cent of the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory_data import Chat, chats
from benchmarks.memory_texts import MISSING, embedder, message_tokens
from tokenwise_core.memory import BlockSummary, Keep, Memory, Plan, Recall, Request, View
from tokenwise_core.memory.request import Prepared
from tokenwise_core.messages import Message

_MULTI_HOP, _JUDGED = 1, (1, 2, 3, 4)
_PART = 32
"""Summary and tail take a 32nd of the budget each: nearly all of it is for what a question needs."""
_PATIENT_MS = 60_000
_FLOORS = {
    "locomo.evidence_recall@10": (0.88, 0.92),
    "locomo.evidence_recall@5": (0.82, 0.87),
    "locomo.multi_hop@5": (0.58, 0.68),
    "locomo.all_evidence@10": (0.82, 0.88),
}
_NOTE = (
    "the budget holds summary, pins, tail, the question and the slot. The cues' weights are round values, settled in "
    "sight of all six conversations"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: its category, and which of its evidence stood in the context."""

    category: int
    found: float
    all_found: bool


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return recall at 10 % and 5 % of the tokens, beside the frameworks' memories at the same budget."""
    talks = chats(data)[: 2 if quick else None]
    if not talks:
        return [_figure(key, None, note=MISSING) for key in _FLOORS]
    from benchmarks.memory_peers import evidence_peers

    rows = {share: [one for talk in talks for one in evidence(talk, share)] for share in (0.05, 0.10)}
    beside = {share: evidence_peers(talks, share, full=full) for share in (0.05, 0.10)}
    multi = [one.found for one in rows[0.05] if one.category == _MULTI_HOP]
    words = [one for talk in talks for one in evidence(talk, 0.10, dense=False)]
    n = len(rows[0.05])
    return [
        _figure("locomo.evidence_recall@10", _mean([o.found for o in rows[0.10]]), n=n, peers=beside[0.10], note=_NOTE),
        _figure("locomo.evidence_recall@5", _mean([o.found for o in rows[0.05]]), n=n, peers=beside[0.05], note=_NOTE),
        _figure("locomo.multi_hop@5", _mean(multi), n=len(multi)),
        _figure("locomo.all_evidence@10", _mean([float(o.all_found) for o in rows[0.10]]), n=n),
        _figure("locomo.evidence_recall@10.words_only", _mean([o.found for o in words]), n=n, note="no embedder"),
    ]  # fmt: skip


def evidence(chat: Chat, share: float, *, dense: bool = True) -> list[Asked]:
    """Ask each question of categories 1–4 at the end of *chat*, in a context of *share* of its tokens."""
    budget = int(share * sum(map(message_tokens, chat.messages)))
    memory = Memory(
        BlockSummary(summary_tokens=max(16, budget // _PART), tail_tokens=budget // _PART, pin_share=0.0025),
        target_tokens=budget,
        max_tokens=budget,
        recall=Recall(max_tokens=budget, share=1.0, when="always", embedder=embedder() if dense else None),
        deadline_ms=_PATIENT_MS,
        clock=lambda: 0.0,
    )
    request = Request(summariser=None)
    asked = []
    with memory.using(chat.id) as conversation:
        conversation.sync(0, chat.messages)
        before = memory.prepare(conversation, View(), request)
        memory.answered(before)
        memory.drain()
        for question in chat.questions:
            if question.category not in _JUDGED or not question.evidence:
                continue
            at = len(chat.messages)
            conversation.sync(at, [Message(role="user", text=question.text, index=at, at=chat.messages[-1].at)])
            prepared = memory.prepare(conversation, before.view, request)
            tokens = _tokens(prepared.plan, conversation.messages)
            assert tokens <= budget, f"{tokens} tokens in a budget of {budget}"
            shown = _shown(prepared)
            hits = [place in shown for place in question.evidence]
            asked.append(Asked(question.category, sum(hits) / len(hits), all(hits)))
    memory.close()
    return asked


def _shown(prepared: Prepared) -> set[int]:
    slot = prepared.view.slot
    return {*prepared.plan.positions, *(slot.positions if slot else ())}


def _tokens(plan: Plan, messages: Sequence[Message]) -> int:
    return sum(
        message_tokens(messages[at]) if isinstance(part, Keep) and at is not None else part.tokens  # type: ignore[union-attr]
        for part, at in plan.shown(range(len(messages)))
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _figure(
    key: str, ours: float | None, *, n: int | None = None, peers: dict[str, float] | None = None, note: str = ""
) -> dict[str, Any]:
    must, goal = _FLOORS.get(key, (None, None))
    return {
        "area": "memory", "key": key, "ours": None if ours is None else round(ours, 4), "must": must, "goal": goal,
        "unit": "fraction", "better": "higher", "peers": peers or {}, "n": n, "note": note,
    }  # fmt: skip
