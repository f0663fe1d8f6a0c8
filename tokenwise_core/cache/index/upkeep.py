"""What is done to a large partition in the background: build, seal, clear out, save, restore."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entries.protocol import VectorRows
from tokenwise_core.cache.index import snapshot
from tokenwise_core.cache.index.partition import RETRAIN_AT, SEAL, Partition
from tokenwise_core.cache.index.segments import Codebook, Segment, give_back_memory, sample_for, search
from tokenwise_core.errors import BadInput

log = logging.getLogger("tokenwise.cache")

CHUNK = 16_384
"""Rows read at once: 25 MB at 384 dimensions."""
DEAD_SHARE = 0.2
"""Share of dead entries from which on segments are written anew without them."""
UNSAVED_SHARE = 0.1
"""Share of entries that a snapshot may lack before the next one is written; they are read from the store."""
REST = 64
"""Searches until work that failed is tried again."""
SAMPLE = 16
"""Vectors compared to find out whether segments were made from this store."""
_SAME = 0.98
"""Cosine above which an 8-bit vector may be the stored one."""
_ALL = 1 << 62


class Stopped(Exception):
    """The index was closed while it worked."""


def work(partition: Partition) -> None:
    """Do all that is due for one partition; after a failure it rests for some searches, twice as many each time."""
    if partition.resting:
        return  # it has failed since this was asked for
    builds = partition.builds
    try:
        _work(partition)
        partition.failures = 0
        if partition.builds != builds:
            give_back_memory()
    except Stopped:
        pass
    except BaseException:
        partition.failures += 1
        partition.resting = REST << min(partition.failures, 10)
        raise


def save(partition: Partition, *, patient: bool = True) -> None:
    """Write a snapshot, unless the last one still says all, or unless *patient* other work is under way."""
    if partition.working.acquire(blocking=patient):
        try:
            if partition.view.segments and _unsaved(partition):
                _save(partition)
        finally:
            partition.working.release()


def _work(partition: Partition) -> None:
    with partition.working:
        if not partition.view.segments and len(partition.view.tail) > partition.direct and not _restore(partition):
            _build(partition)
        if not partition.view.segments:
            return
        _seal(partition)
        if partition.audit_due:
            _audit(partition)
        if partition.view.sealed >= RETRAIN_AT * partition.trained_on:
            _build(partition)
        if _unsaved(partition) > UNSAVED_SHARE:
            _save(partition)


def _build(partition: Partition) -> None:
    """Learn centroids and quantise all that the store has; a partition that is small after all begins anew."""
    generation = partition.entries.generation()
    count = partition.entries.count(partition.id, at_most=_ALL)
    if count <= partition.direct:
        partition.forget()
        return
    codebook = Codebook.train(_sample(partition, count), count=count)
    segments, sealed_to = [], 0
    for rows in _chunks(partition):
        segments.append(Segment.encode(codebook, rows))
        sealed_to = int(rows.seqs[-1])
    if not segments:
        partition.forget()
        return
    partition.publish((Segment.merge(segments),), sealed_to)
    partition.trained_on, partition.saved, partition.clean = count, (0, 0), generation
    partition.dead.clear()
    partition.builds += 1


def _sample(partition: Partition, count: int) -> NDArray[np.float32]:
    """Return vectors from all over the partition to learn from."""
    share, dice = sample_for(count) / count, np.random.default_rng(0)
    parts = [rows.vectors[dice.random(len(rows.seqs)) < share] for rows in _chunks(partition)]
    return np.concatenate(parts)


def _seal(partition: Partition) -> None:
    """Quantise what came after the segments, read from the store: it no longer has what has died since."""
    while True:
        view = partition.view
        rows = partition.entries.vectors(partition.id, after=view.sealed_to, limit=CHUNK)
        if partition.stopped:
            raise Stopped
        if len(rows.seqs) < SEAL:
            return
        segments = [*view.segments, Segment.encode(view.segments[0].codebook, rows)]
        while len(segments) > 1 and len(segments[-2]) <= 2 * len(segments[-1]):
            segments[-2:] = [Segment.merge(segments[-2:])]
        partition.publish(tuple(segments), int(rows.seqs[-1]))


def _audit(partition: Partition) -> None:
    """Compare with the store: clear out the dead where they are many, begin anew where it is another store."""
    generation, view = partition.entries.generation(), partition.view
    count = partition.entries.count(partition.id, at_most=_ALL)
    if count <= partition.direct:
        if partition.folder is not None:
            snapshot.delete(partition.folder, partition.id)
        partition.forget()
    elif not _is_of_this_store(partition, view.segments[0], count / len(view)):
        _build(partition)
    elif count < (1 - DEAD_SHARE) * len(view):
        live = np.concatenate([rows.seqs for rows in _chunks(partition)])
        partition.publish((Segment.merge(view.segments, live=live),), view.sealed_to)
        partition.clean = generation
        partition.dead.clear()
    elif count == len(view) and not _has_moved(partition, generation, view.last_seq):
        partition.clean = generation
        partition.dead.clear()
    partition.audit_done(generation)


def _has_moved(partition: Partition, generation: int, last_seq: int) -> bool:
    """Say whether anything was deleted or stored since."""
    newer = partition.entries.vectors(partition.id, after=last_seq, limit=1)
    return bool(len(newer.seqs)) or partition.entries.generation() != generation


def _restore(partition: Partition) -> bool:
    """Take over the snapshot, once in a partition's life; one that is damaged, stale or foreign is only logged."""
    if partition.folder is None or partition.restored:
        return False
    partition.restored = True
    try:
        found = snapshot.read(partition.folder, partition.id)
        if found is None:
            return False
        header, data = found
        segment = Segment.from_bytes(data)
        _check(partition, header, segment)
    except (BadInput, OSError) as error:
        log.warning("snapshot of partition %s: %s; it is rebuilt from the store", partition.id.hex(), error)
        return False
    partition.publish((segment,), header.last_seq)
    partition.trained_on, partition.saved = header.trained_on, (len(segment), header.last_seq)
    partition.clean = header.clean
    return True


def _check(partition: Partition, header: snapshot.Header, segment: Segment) -> None:
    """Raise BadInput where a snapshot does not fit its header or the store."""
    if len(segment) != header.count or segment.codebook.dimension != header.dimension:
        raise BadInput("its vectors are not those that its header names")
    if not len(partition.entries.vectors(partition.id, after=header.last_seq - 1, limit=1).seqs):
        raise BadInput(f"it ends at entry {header.last_seq}, the store before that")
    count = partition.entries.count(partition.id, at_most=header.count)
    if count < (1 - DEAD_SHARE) * header.count:
        raise BadInput(f"it holds {header.count} entries, the store {count}")
    if not _is_of_this_store(partition, segment, count / header.count):
        raise BadInput("it was not made from this store")


def _is_of_this_store(partition: Partition, segment: Segment, alive_share: float) -> bool:
    """Look some of a segment's entries up in the store: too many absent, or another vector, and it is foreign."""
    alive, seqs = 0, segment.sample(SAMPLE).tolist()
    for seq in seqs:
        rows = partition.entries.vectors(partition.id, after=seq - 1, limit=1)
        if len(rows.seqs) and rows.seqs[0] == seq:
            alive += 1
            nearest = search([segment], np.ascontiguousarray(rows.vectors[0]), 1)
            if not nearest or nearest[0][0] < _SAME:
                return False
    return alive >= 0.5 * alive_share * len(seqs)


def _unsaved(partition: Partition) -> float:
    """Return the share of sealed entries by which the snapshot on the disk differs."""
    sealed, sealed_to = partition.view.sealed, partition.view.sealed_to
    if (sealed, sealed_to) == partition.saved:
        return 0.0
    return max(1, abs(sealed - partition.saved[0])) / max(1, sealed)


def _save(partition: Partition) -> None:
    folder = partition.folder
    if folder is None:
        return
    view, dead = partition.view, partition.dead.copy()
    segment = view.segments[0]
    if len(view.segments) > 1 or dead:
        segment = Segment.merge(view.segments, dead=np.array(sorted(dead), dtype=np.int64))
        partition.publish((segment,), view.sealed_to)
        partition.dead -= dead
    header = snapshot.Header(
        partition=partition.id.hex(),
        last_seq=view.sealed_to,
        count=len(segment),
        dimension=segment.codebook.dimension,
        trained_on=partition.trained_on,
        clean=partition.clean,
    )
    try:
        snapshot.write(folder, header, segment.to_bytes())
        _tidy(partition, folder)
    except OSError as error:  # the store has it all
        log.warning("no more snapshots of partition %s: %s", partition.id.hex(), error)
        partition.folder = None
        return
    if partition.folder is None:  # cleared meanwhile
        snapshot.delete(folder, partition.id)
    partition.saved = (len(segment), view.sealed_to)


def _tidy(partition: Partition, folder: Path) -> None:
    """Delete the snapshots of partitions that the store has no more: purged, or of another embedder."""
    for other in snapshot.partitions(folder):
        if not partition.entries.count(other, at_most=1):
            snapshot.delete(folder, other)


def _chunks(partition: Partition) -> Iterator[VectorRows]:
    """Yield all rows of the partition; raises Stopped once the index is closed."""
    after = 0
    while True:
        rows = partition.entries.vectors(partition.id, after=after, limit=CHUNK)
        if partition.stopped:
            raise Stopped
        if not len(rows.seqs):
            return
        yield rows
        after = int(rows.seqs[-1])
