"""One partition: a small one is its tail; of a large one the older vectors lie quantised in segments.

What is searched is an immutable `View`. Catching up with the store, and the work in the background, publish new ones,
so no search waits for a build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entry import Vector
from tokenwise_core.cache.index.segments import Segment, search
from tokenwise_core.cache.index.tail import NOTHING, Hits, Tail

CATCH_UP = 1024
"""New rows that one search reads at most; what is beyond waits for the background."""
SEAL = 1024
"""Length at which a large partition's tail is sealed: scanning it takes 25 µs."""
RETRAIN_AT = 4
"""Growth after which the centroids are learnt anew."""
AUDIT_DEAD = 32
"""Dead entries met in searches after which the store is asked how many there are."""
AUDIT_SEARCHES = 64
"""Searches between two such questions at least; one in a thousandth of the entries where they are many."""
SPARE = 4
"""Neighbours looked at beyond those asked for where some may have died; each costs 13 µs."""
_DEEPEST = 4096
_OVERHEAD = 2048
"""Bytes of a partition's Python objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is searched: *segments* hold the entries up to *sealed_to*, the *tail* those after it.

    *generation* is the store's when it was last asked. Segments share one codebook.
    """

    segments: tuple[Segment, ...] = ()
    sealed_to: int = 0
    tail: Tail = NOTHING
    generation: int | None = None

    @property
    def last_seq(self) -> int:
        return self.tail.last_seq or self.sealed_to

    @property
    def sealed(self) -> int:
        """Entries in segments."""
        return sum(map(len, self.segments))

    def __len__(self) -> int:
        return self.sealed + len(self.tail)

    @property
    def nbytes(self) -> int:
        codebook = self.segments[0].codebook.nbytes if self.segments else 0
        return self.tail.nbytes + codebook + sum(segment.nbytes for segment in self.segments)


@dataclass(slots=True, eq=False)
class Partition:
    """The vectors of partition *id*; up to *direct* of them are compared one by one. Thread-safe.

    *clean* is a generation of the store at which it still had all that the segments hold; *dead* holds seqs that it
    has no more, as far as searches met them. The other fields are the background's (`upkeep`), which holds *working*.
    """

    id: bytes
    entries: Entries
    direct: int
    folder: Path | None = None
    view: View = field(default_factory=View)
    clean: int | None = None
    dead: set[int] = field(default_factory=set)
    working: Lock = field(default_factory=Lock)
    builds: int = 0
    trained_on: int = 0
    saved: tuple[int, int] = (0, 0)
    restored: bool = False
    audited: int | None = None
    stopped: bool = False
    failures: int = 0
    resting: int = 0
    _searches: int = 0
    _reading: Lock = field(default_factory=Lock)

    @property
    def nbytes(self) -> int:
        return _OVERHEAD + self.view.nbytes

    @property
    def needs_work(self) -> bool:
        """Say whether there is something to build, seal, learn anew or clear out."""
        view = self.view
        if not view.segments:
            return len(view.tail) > self.direct
        return len(view.tail) >= SEAL or view.sealed >= RETRAIN_AT * self.trained_on or self.audit_due

    @property
    def audit_due(self) -> bool:
        """Say whether entries may have died; asked once in so many searches, for counting a million takes 30 ms."""
        view = self.view
        moved = view.generation != self.audited or len(self.dead) > AUDIT_DEAD
        return moved and self._searches >= max(AUDIT_SEARCHES, view.sealed // 1000)

    def search(self, vector: Vector, k: int) -> Hits:
        """Return the *k* nearest, entries that were stored a moment ago included.

        Cosines from segments may be off by 0.005, except where deletions made it necessary to look the entries up.
        """
        self._catch_up()
        view = self.view
        if not view.segments:
            return view.tail.search(vector, k)
        self._searches += 1
        return [] if view.segments[0].codebook.dimension != len(vector) else self._search(view, vector, k)

    def publish(self, segments: tuple[Segment, ...], sealed_to: int) -> None:
        """Search these segments from now on; the tail begins after *sealed_to*."""
        with self._reading:
            self.view = replace(self.view, segments=segments, sealed_to=sealed_to, tail=self.view.tail.after(sealed_to))

    def forget(self) -> None:
        """Begin anew, from the store."""
        with self._reading:
            self.view, self.trained_on, self.clean = View(), 0, None
            self.dead.clear()

    def audit_done(self, generation: int) -> None:
        """Remember as of which generation no dead entries are known."""
        self.audited, self._searches = generation, 0

    def _search(self, view: View, vector: Vector, k: int) -> Hits:
        """Look for the *k* nearest that the store still has, the deeper the more of those found have died."""
        depth = k if view.generation == self.clean else k + SPARE
        gone: set[int] = set()
        while True:
            found = search(view.segments, vector, depth)
            found += [(cosine, seq) for seq, cosine in view.tail.search(vector, depth)]
            found.sort(reverse=True)
            if view.generation == self.clean:
                return [(seq, cosine) for cosine, seq in found[:k]]
            known = [seq for _, seq in found if seq not in self.dead and seq not in gone][: k + SPARE]
            hits = self._checked(known, vector)
            gone |= set(known) - {seq for seq, _ in hits}
            if len(hits) >= k or len(found) < depth or depth >= _DEEPEST:
                break
            depth *= 4
        if self.view.segments is view.segments:  # else they may have been cleared of them by now
            self.dead.update(gone)
        return hits[:k]

    def _checked(self, seqs: Sequence[int], vector: Vector) -> Hits:
        """Return those that the store still has in this partition, with exact cosines, nearest first."""
        hits = []
        for seq in seqs:
            rows = self.entries.vectors(self.id, after=seq - 1, limit=1)
            if len(rows.seqs) and rows.seqs[0] == seq:
                hits.append((seq, float(rows.vectors[0] @ vector)))
        hits.sort(key=lambda hit: hit[1], reverse=True)
        return hits

    def _catch_up(self) -> None:
        """Take over what was stored, and in a small partition what was deleted, since the last look."""
        with self._reading:
            generation = self.entries.generation()  # asked first: what dies after this is noticed next time
            if self.view.segments:
                self._read_new(generation)
            elif not self.view.tail:
                self._read_all(generation)
            elif len(self.view.tail) <= 2 * self.direct:  # else it is about to be built, and serves what it has
                self._follow(generation)

    def _read_new(self, generation: int) -> None:
        view = self.view
        if len(view.tail) < 4 * SEAL:  # else the background is behind
            rows = self.entries.vectors(self.id, after=view.last_seq, limit=CATCH_UP)
            self.view = replace(view, tail=view.tail.append(rows), generation=generation)

    def _read_all(self, generation: int) -> None:
        rows = self.entries.vectors(self.id, limit=self.direct + 1)
        self.view = View(tail=Tail.of(rows), generation=generation)

    def _follow(self, generation: int) -> None:
        """Read from the newest row known on: where the store has it no more, or counts other rows, read all anew."""
        view = self.view
        rows = self.entries.vectors(self.id, after=view.last_seq - 1, limit=CATCH_UP)
        if not view.tail.ends_with(rows):
            self._read_all(generation)
            return
        new = replace(rows, seqs=rows.seqs[1:], vectors=rows.vectors[1:])
        if not len(new.seqs) and generation == view.generation:
            return
        tail = view.tail.append(new)
        whole = len(tail) <= self.direct
        if whole and self.entries.count(self.id, at_most=len(tail) + 1) != len(tail):
            self._read_all(generation)
        else:
            self.view = replace(view, tail=tail, generation=generation)
