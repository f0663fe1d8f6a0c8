"""Taking what a cache knows elsewhere: entries and labels as lines of JSON, and back with every line checked.

The file holds questions and answers in plain text, also where the store keeps them sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entry import Entry, Label
from tokenwise_core.cache.transfer_lines import (
    BadLineError,
    entry_line,
    full_epochs,
    label_line,
    read_line,
)
from tokenwise_core.errors import BadInput

BATCH = 500
KEPT_BAD = 100
"""How many of the bad lines are named; all are counted."""
_MOST_BUMPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that could not be used; *number* counts from 1."""

    number: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the lines; together they are all lines but the empty ones.

    *entries* were stored. *known* were not: the store has the same answer or a newer one under the same key, or the
    same label. *expired* died meanwhile; *outdated* were made before an invalidation that the store knows of, or in a
    namespace whose history differs from the store's. *bad_lines* names the first `KEPT_BAD` of the *bad* ones.
    """

    entries: int = 0
    labels: int = 0
    known: int = 0
    expired: int = 0
    outdated: int = 0
    bad: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)

    @property
    def lines(self) -> int:
        """How many lines were read."""
        return self.entries + self.labels + self.known + self.expired + self.outdated + self.bad


def export_lines(entries: Entries, *, now: float, namespace: str | None = None) -> Iterator[str]:
    """Yield a line for each living entry (of one namespace, as it is stored), then, without *namespace*, each label."""
    epochs = entries.epochs()
    for entry in entries.iterate(namespace=namespace):
        if (entry.expires_at is None or entry.expires_at > now) and _is_current(entry, epochs):
            yield entry_line(entry, epoch=epochs.get(f"ns:{entry.namespace}", 0))
    if namespace is None:
        for label in entries.labels()[1]:
            yield label_line(label)


def import_lines(
    entries: Entries, lines: Iterable[str], *, now: float, seen: Callable[[int], None] | None = None
) -> Imported:
    """Store what *lines* hold and return what became of each; *seen* is told how many were read, now and then.

    Nothing in the store is lost: an entry is replaced only by a newer one under the same key. What `StoreError`
    interrupts can be repeated.
    """
    return _Import(entries, now=now).run(lines, seen or (lambda _: None))


class _Import:
    """One import under way."""

    def __init__(self, entries: Entries, *, now: float) -> None:
        self._entries, self._now = entries, now
        self._epochs = dict(entries.epochs())
        self._filled = {totals.namespace for totals in entries.totals()}
        self._labels = {_identity(label) for label in entries.labels()[1]}
        self._result = Imported()

    def run(self, lines: Iterable[str], seen: Callable[[int], None]) -> Imported:
        batch: list[tuple[int, Entry | Label]] = []
        number = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                read = read_line(line)
            except BadLineError as error:
                self._note(number, str(error))
                continue
            if isinstance(read, Label) or self._is_wanted(*read):
                batch.append((number, read if isinstance(read, Label) else self._here(read[0])))
            if len(batch) >= BATCH:
                self._store(batch)
                batch = []
                seen(number)
        self._store(batch)
        seen(number)
        return self._result

    def _is_wanted(self, entry: Entry, epoch: int) -> bool:
        """Say whether the entry still holds here; counts it where it does not."""
        if entry.expires_at is not None and entry.expires_at <= self._now:
            self._result.expired += 1
        elif not self._has_epoch(entry.namespace, epoch) or not _is_current(entry, self._epochs):
            self._result.outdated += 1
        else:
            return True
        return False

    def _has_epoch(self, namespace: str, epoch: int) -> bool:
        """Say whether the namespace stands at *epoch* here: it is part of every key. An empty one is brought there."""
        name = f"ns:{namespace}"
        known = self._epochs.get(name, 0)
        if known < epoch <= _MOST_BUMPS and namespace not in self._filled:
            while known < epoch:
                known = self._entries.bump(name)
            self._epochs[name] = known
        return known == epoch

    def _here(self, entry: Entry) -> Entry:
        """Return *entry* at the epochs of this store, so that the next invalidation here reaches it."""
        epochs = {name: self._epochs.get(name, 0) for name in full_epochs(entry)}
        return replace(entry, epochs={name.removeprefix("tag:"): epoch for name, epoch in epochs.items()})

    def _store(self, batch: list[tuple[int, Entry | Label]]) -> None:
        new = self._newest([(number, read) for number, read in batch if isinstance(read, Entry)])
        self._result.known += sum(isinstance(read, Entry) for _, read in batch) - len(new)
        try:
            self._result.entries += len(self._entries.put([entry for _, entry in new]))
        except BadInput:
            for number, entry in new:
                self._store_alone(number, entry)
        self._filled |= {entry.namespace for _, entry in new}
        self._learn([read for _, read in batch if isinstance(read, Label)])

    def _newest(self, read: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
        """Return the entries that are newer than what stands under their keys, here or in the same batch."""
        found: dict[bytes, tuple[int, Entry]] = {}
        for number, entry in read:
            rival = found[entry.key][1] if entry.key in found else self._entries.get(entry.key, now=self._now)
            if rival is None or rival.created_at < entry.created_at:
                found[entry.key] = number, entry
        return list(found.values())

    def _learn(self, labels: list[Label]) -> None:
        """Keep the labels that are not known yet: one that counted twice would make the cache too sure."""
        fresh = {_identity(label): label for label in labels if _identity(label) not in self._labels}
        self._entries.add_labels(list(fresh.values()))
        self._labels |= fresh.keys()
        self._result.labels += len(fresh)
        self._result.known += len(labels) - len(fresh)

    def _store_alone(self, number: int, entry: Entry) -> None:
        try:
            self._entries.put([entry])
            self._result.entries += 1
        except BadInput as error:
            self._note(number, str(error))

    def _note(self, number: int, reason: str) -> None:
        self._result.bad += 1
        if len(self._result.bad_lines) < KEPT_BAD:
            self._result.bad_lines.append(BadLine(number=number, reason=reason))


def _is_current(entry: Entry, epochs: Mapping[str, int]) -> bool:
    return all(epochs.get(name, 0) <= epoch for name, epoch in full_epochs(entry).items())


def _identity(label: Label) -> tuple[object, ...]:
    return label.ts, label.embedder, label.same, label.features
