"""Why an answer was served, told from what was recorded, and what follows when it was wrong."""

from __future__ import annotations

from dataclasses import dataclass

from tokenwise_core.cache.entry import HitRecord, Label
from tokenwise_core.cache.finder import Finder, Policy, unlike, without_partition
from tokenwise_core.cache.keeper import Keeper
from tokenwise_core.cache.reading import read
from tokenwise_core.cache.vetoes import VETOES, vetoes


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One hit, explained. *stored* and *answer* are None where the entry is gone since.

    *ground* says what a rephrased question was served on. *vetoes_tested* are those that were asked and did not object;
    *objections* those that would object today.
    """

    hit: HitRecord
    asked: str | None
    stored: str | None
    answer: str | None
    ground: str | None = None
    vetoes_tested: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    entry_hits: int = 0
    right: int = 0
    wrong: int = 0

    def lines(self) -> list[str]:
        """Return it in words, a line a fact."""
        hit = self.hit
        facts = [
            ("asked", self.asked),
            ("stored question", self.stored if hit.kind == "semantic" else None),
            ("kind", hit.kind),
            ("served because", self.ground),
            ("cosine", _number(hit.similarity)),
            ("probability that it is right", _number(hit.score)),
            ("bound of the false-hit rate", _number(hit.bound)),
            ("neighbours with the same answer", None if hit.agreement is None else f"{hit.agreement:.0%}"),
            ("vetoes passed", ", ".join(self.vetoes_tested) or None),
            ("vetoes that object today", ", ".join(self.objections) or None),
            ("age", f"{hit.age_s:,.0f} s"),
            ("saved", f"{hit.saved_tokens:,} tokens"),
            ("entry", f"{self.entry_hits:,} hits, labels {self.right:,} right and {self.wrong:,} wrong"),
            ("answer", self.answer or "gone since"),
        ]
        return [f"{name}: {value}" for name, value in facts if value is not None]


def explanation(finder: Finder, hit_id: str, *, now: float, policy: Policy) -> Explanation | None:
    """Explain a hit; None where it is not known (any more)."""
    hit = finder.entries.hit(hit_id)
    if hit is None:
        return None
    entry = finder.entries.entry(hit.seq, now=now)
    stored = None if entry is None else entry.query
    off = policy.off(None if entry is None else entry.category)
    tested: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    ground = None
    if hit.kind == "semantic" and stored and hit.query:
        ground = _ground(hit.query, stored)
        tested = tuple(name for name in VETOES if name not in off)
        objections = vetoes(
            read(hit.query, protected=policy.protected), read(stored, protected=policy.protected), off=off
        )
    return Explanation(
        hit=hit,
        asked=hit.query,
        stored=stored,
        answer=None if entry is None else entry.answer.text,
        ground=ground,
        vetoes_tested=tuple(name for name in tested if name not in objections),
        objections=objections,
        entry_hits=0 if entry is None else entry.hits,
        right=0 if entry is None else entry.right,
        wrong=0 if entry is None else entry.wrong,
    )


def judge_hit(finder: Finder, keeper: Keeper, hit_id: str, *, ok: bool, now: float) -> bool:
    """Take a person's word on a hit: the verifier learns it, and a wrong answer is not served again.

    After a wrong semantic hit that question is never again served by likeness, and the entry stays for its own exact
    question; the entry of a wrong exact hit is deleted.
    """
    hit = finder.entries.hit(hit_id)
    if hit is None:
        return False
    if hit.features:
        embedder = hit.embedder or ("" if finder.embedder is None else finder.embedder.id)
        label = Label(features=hit.features, same=ok, ts=now, score=hit.score, source="feedback", embedder=embedder)
        keeper.learn([label])
    finder.entries.mark({hit.seq: (int(ok), int(not ok))})
    if hit.key and not ok:
        finder.entries.set_state(unlike(hit.key), "1", owner=hit.owner)
    entry = None if ok else finder.entries.entry(hit.seq, now=now)
    if entry is not None and hit.kind == "semantic":
        finder.entries.delete([hit.seq])
        finder.entries.put([without_partition(entry)])
    elif entry is not None:
        finder.entries.delete([hit.seq])
    return True


def _ground(asked: str, stored: str) -> str:
    """Say what spoke for the hit: words that are the same need no evidence, a likeness does."""
    mine, theirs = read(asked), read(stored)
    if mine.plain == theirs.plain:
        return "the same words in another spelling"
    if mine.stems == theirs.stems:
        return "the same content words, and a cosine near 1"
    return "its chance of being right, and the bound on false hits, are within max_error"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
