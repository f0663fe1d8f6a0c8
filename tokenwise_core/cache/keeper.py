"""Keeps what ended requests bring: entries with what verification needs of them, free labels, hits, feedback.

Runs in the writer's thread. A part that fails (an embedder, the database) costs an entry, a label or a count.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from tokenwise_core.cache.answers import AnswerSignature, same_answer, signature
from tokenwise_core.cache.entry import CachedAnswer, Entry, HitRecord, Label
from tokenwise_core.cache.exact import Kept
from tokenwise_core.cache.finder import Finder
from tokenwise_core.cache.gate import exact_only
from tokenwise_core.cache.reading import edition, read
from tokenwise_core.cache.request import Hit
from tokenwise_core.cache.stats import Counters
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.cache.verify import labels_of
from tokenwise_core.embeddings import fits_window
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.said import Said

log = logging.getLogger("tokenwise.cache")

T = TypeVar("T")
RETRY_S = 30.0
"""Pause after an embedder failed at writing, before it is asked again."""
SWEEP_S = 60.0
REPLACED = "replaced"
"""The epoch that moves when an answer was corrected: nothing stands under it, but all memories are emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """An answer to be stored: *entry* as far as the request told it, *kept* what memory holds of it."""

    ticket: Ticket
    entry: Entry
    kept: Kept


class HitNote(NamedTuple):
    """A hit to be recorded; *kept* tells the entry, whose number may not be known before it is written."""

    hit: Hit
    ticket: Ticket
    kept: Kept
    ts: float

    def record(self, *, embedder: str) -> HitRecord | None:
        """Return the record; None where the entry was not stored, so that there is nothing to explain."""
        ticket, hit, judgement = self.ticket, self.hit, self.ticket.judgement
        if self.kept.seq is None:
            return None
        is_semantic = hit.kind == "semantic" and judgement is not None
        return HitRecord(
            id=hit.id,
            ts=self.ts,
            seq=self.kept.seq,
            kind=hit.kind,
            namespace=ticket.namespace or "",
            query=None if ticket.key is None else ticket.key.query,
            similarity=hit.similarity,
            score=hit.score,
            bound=hit.bound,
            agreement=judgement.agreement if is_semantic and judgement else None,
            features=judgement.features if is_semantic and judgement else (),
            age_s=hit.age_s,
            saved_tokens=hit.saved.tokens,
            saved_nano=hit.saved.nano,
            owner=ticket.owner,
            embedder=embedder if is_semantic else "",
            key=ticket.key.exact.hex() if is_semantic and ticket.key is not None else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one namespace may hold, and above which cosine a question with the same answer is stored as an alias."""

    max_entries: int | None = None
    max_bytes: int | None = None
    merge: float | None = 0.98


class Keeper:
    """Turns batches of what ended into rows of the store, and what was learnt into the verifier."""

    def __init__(
        self,
        finder: Callable[[], Finder],
        *,
        counters: Counters,
        limits: Limits,
        protected: tuple[str, ...],
        complete_key: Callable[[Ticket], None],
        bounded: Callable[[Callable[[], Any]], Any],
        clock: Clock,
    ) -> None:
        """Make it; *bounded* runs work that may hang, and raises where it takes too long."""
        self._finder, self._counters, self._limits = finder, counters, limits
        self._protected, self._clock = protected, clock
        self._complete_key, self._bounded, self._edition = complete_key, bounded, edition(protected)
        self._said = Said()
        self._embedder_off_until = float("-inf")
        self._touched: Counter[int] = Counter()
        self._learnt_until = 0
        self._swept = 0.0
        self._has_written = False

    def write(self, items: Sequence[Insert | HitNote]) -> None:
        """Write one batch; never raises."""
        inserts = [item for item in items if isinstance(item, Insert)]
        notes = [item for item in items if isinstance(item, HitNote)]
        if inserts:
            self._guarded("write", lambda: self._insert(inserts), lost=len(inserts))
        if notes:
            self._guarded("hits", lambda: self._record(notes))

    def idle(self) -> None:
        """Write the counters that are batched, and sweep now and then; never raises."""
        self._guarded("counts", self._send_counts)
        now = self._clock()
        if self._has_written and now - self._swept >= SWEEP_S:
            self._swept = now
            self._guarded("sweep", lambda: self._finder().entries.sweep(now=now))

    def catch_up(self) -> None:
        """Learn the labels that this verifier has not seen: its own and those of other processes."""
        finder = self._finder()
        until, labels = finder.entries.labels(after=self._learnt_until)
        self._learnt_until = max(until, self._learnt_until)
        embedder = "" if finder.embedder is None else finder.embedder.id
        own = [label for label in labels if label.embedder == embedder]
        if own:
            finder.verifier.learn(own)

    def learn(self, labels: Sequence[Label]) -> None:
        """Store labels and learn from them."""
        self._finder().entries.add_labels(labels)
        for label in labels:
            self._counters.add(f"label:{'right' if label.same else 'wrong'}")
        self.catch_up()

    def _guarded(self, part: str, work: Callable[[], object], *, lost: int = 0) -> None:
        try:
            work()
        except Exception as error:
            self._count(part, error)
            if lost:
                self._counters.add("dropped", lost)

    def _count(self, part: str, error: Exception) -> None:
        self._counters.add(f"failure:{part}")
        if self._said.is_due(part, error):
            log.warning("the cache could not write (%s): %s", part, type(error).__name__)

    def _insert(self, inserts: Sequence[Insert]) -> None:
        finder, self._has_written = self._finder(), True
        for insert in inserts:
            self._complete_key(insert.ticket)
        self._embed_missing([insert.ticket for insert in inserts])
        entries: list[Entry] = []
        labels: list[Label] = []
        marks: dict[int, tuple[int, int]] = {}
        for insert in inserts:
            self._judge_would_be(insert)
            entries.append(self._finished(insert, labels, marks))
        corrects = any(self._corrects(insert) for insert in inserts)
        seqs = finder.entries.put(entries)
        if corrects:
            finder.entries.bump(REPLACED)  # memories elsewhere hold the older answer, here under rephrased words
        for insert, seq in zip(inserts, seqs, strict=True):
            insert.kept.seq = seq
        self._counters.add("stored", len(seqs))
        if marks:
            finder.entries.mark(marks)
        if labels:
            self.learn(labels)
        self._keep_quota({insert.entry.namespace for insert in inserts})

    def _corrects(self, insert: Insert) -> bool:
        """Say whether an answer stored by hand takes the place of another."""
        if not insert.ticket.by_hand:
            return False
        old = self._finder().entries.get(insert.entry.key, now=self._clock())
        new = insert.entry.answer
        return old is not None and (old.answer.text, old.answer.payload) != (new.text, new.payload)

    def _embed_missing(self, tickets: Sequence[Ticket]) -> None:
        """Embed, in one batch, the questions that were not looked up by meaning (warming, stored by hand)."""
        wanted = [ticket for ticket in tickets if ticket.vector is None and self._is_semantic(ticket)]
        if wanted:
            self._with_embedder(lambda embedder: _embed(embedder, wanted))

    def _with_embedder(self, work: Callable[[Embedder], T]) -> T | None:
        """Return what *work* makes; None without an embedder, where it fails or hangs, and for a while after that.

        What is stored meanwhile is found by its exact words only.
        """
        embedder = self._finder().embedder
        if embedder is None or time.monotonic() < self._embedder_off_until:
            return None
        try:
            made: T = self._bounded(lambda: work(embedder))
        except Exception as error:
            self._embedder_off_until = time.monotonic() + RETRY_S
            self._count("embedder", error)
            return None
        return made

    @staticmethod
    def _is_semantic(ticket: Ticket) -> bool:
        return (
            ticket.key is not None
            and ticket.key.partition is not None
            and ticket.semantic_reason != "warming"  # the key holds no embedder
            and exact_only(ticket.request, ticket.key.query) is None
        )

    def _finished(self, insert: Insert, labels: list[Label], marks: dict[int, tuple[int, int]]) -> Entry:
        """Return the whole entry; what its neighbours' answers tell goes to *labels* and *marks*."""
        ticket, entry = insert.ticket, insert.entry
        key = ticket.key
        if key is None or ticket.vector is None or not self._is_semantic(ticket) or entry.answer.tool_calls:
            return entry
        made = self._signature(entry.answer)
        asked = ticket.asked or read(_query(ticket), protected=self._protected)
        for label, position in labels_of(asked, ticket.neighbours, made, ticket.judgement):
            labels.append(replace(label, embedder=self._embedder_id(), ts=self._clock()))
            seq = ticket.neighbours[position].seq
            right, wrong = marks.get(seq, (0, 0))
            marks[seq] = (right + label.same, wrong + (not label.same))
        if self._is_alias(ticket, made):
            self._counters.add("merged")
            return entry
        return replace(
            entry,
            partition=key.partition,
            query=key.query,
            vector=ticket.vector,
            reading={**asked.to_json(), "edition": self._edition},
            signature=made.to_json(),
        )

    def _is_alias(self, ticket: Ticket, made: AnswerSignature) -> bool:
        """Say whether a neighbour that is nearly the same text has the same answer: it stands for this one too."""
        if self._limits.merge is None or not ticket.neighbours:
            return False
        nearest = ticket.neighbours[0]
        return nearest.similarity >= self._limits.merge and same_answer(nearest.signature, made) is True

    def _signature(self, answer: CachedAnswer) -> AnswerSignature:
        made = self._with_embedder(lambda embedder: signature(answer, embedder.embed))
        return signature(answer, None) if made is None else made

    def _embedder_id(self) -> str:
        embedder = self._finder().embedder
        return "" if embedder is None else embedder.id

    def _judge_would_be(self, insert: Insert) -> None:
        """Compare the model's answer with the one that a cache in the shadow would have served."""
        would_be = insert.ticket.would_be
        if would_be is None or would_be.kind != "semantic":
            return  # a model may answer the very same words in other ways: that says nothing of likeness
        same = same_answer(self._signature(would_be.answer), self._signature(insert.entry.answer))
        self._counters.add(f"shadow:{'unknown' if same is None else 'right' if same else 'wrong'}")

    def _keep_quota(self, namespaces: set[str]) -> None:
        limits = self._limits
        if limits.max_entries is None and limits.max_bytes is None:
            return
        for namespace in namespaces:
            self._finder().entries.evict(namespace, max_entries=limits.max_entries, max_bytes=limits.max_bytes)

    def _record(self, notes: Sequence[HitNote]) -> None:
        embedder = self._embedder_id()
        known = [record for note in notes if (record := note.record(embedder=embedder)) is not None]
        self._touched.update(record.seq for record in known)
        if known:
            self._finder().entries.add_hits(known)

    def _send_counts(self) -> None:
        entries = self._finder().entries
        touched, self._touched = self._touched, Counter()
        try:
            if touched:
                entries.touch(touched, now=self._clock())
        except Exception:
            self._touched.update(touched)
            raise
        counts = self._counters.take_unsent()
        if not counts:
            return
        try:
            entries.add_counts(counts)
        except Exception:
            self._counters.give_back(counts)
            raise


def _embed(embedder: Embedder, tickets: Sequence[Ticket]) -> None:
    fitting = [ticket for ticket in tickets if fits_window(embedder, _query(ticket))]
    if fitting:
        for ticket, vector in zip(fitting, embedder.embed([_query(ticket) for ticket in fitting]), strict=True):
            ticket.vector = vector


def _query(ticket: Ticket) -> str:
    return (ticket.key.query if ticket.key is not None else None) or ""
