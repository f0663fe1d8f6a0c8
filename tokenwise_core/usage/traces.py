"""Who called whom: a bounded tree of runs, and what was learnt in each (retrieved texts, template variables).

Neither framework gives an event its root: LangChain has `parent_run_id` only, LlamaIndex parents on spans only, and
some runs arrive as orphans. Everything here is O(depth) and never fails on an id it does not know.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tokenwise_core.scoping import Scope, current_scope
from tokenwise_core.usage.call import Known

MAX_RUNS = 20_000  # runs may never end (an abandoned generator): the oldest are forgotten
MAX_TEXTS = 256  # retrieved texts remembered per trace
MAX_DEPTH = 200  # a longer chain of parents is a cycle


@dataclass(slots=True)
class _Run:
    parent: Hashable | None
    scope: Scope
    name: str | None = None
    known: tuple[Known, ...] = ()
    texts: list[str] = field(default_factory=list)


class Traces:
    """The runs that are open now, by the framework's own ids.

    Without a lock: each step is one operation of a C container, which the interpreter does not interrupt, and a lock
    that another thread holds while the process forks would stay locked in the child.
    """

    def __init__(self, *, max_runs: int = MAX_RUNS) -> None:
        self._runs: OrderedDict[Hashable, _Run] = OrderedDict()
        self._max_runs = max_runs

    def enter(
        self,
        run: Hashable,
        parent: Hashable | None = None,
        hint: Scope | None = None,
        name: str | None = None,
    ) -> None:
        """Remember that *run*, called *name*, began under *parent*, in the scope in force here completed by *hint*."""
        scope = current_scope()
        self._runs[run] = _Run(parent, scope if hint is None else scope.filled_from(hint), name)
        if len(self._runs) > self._max_runs:
            with suppress(KeyError):  # another thread was quicker
                self._runs.popitem(last=False)

    def leave(self, run: Hashable) -> None:
        """Forget *run*, and with it what was learnt there."""
        self._runs.pop(run, None)

    def root(self, run: Hashable) -> Hashable:
        """Return the outermost run above *run* that is known, *run* itself if none is."""
        return list(self._upwards(run))[-1]

    def ancestors(self, run: Hashable) -> tuple[Hashable, ...]:
        """Return the runs above *run*, nearest first."""
        return tuple(self._upwards(run))[1:]

    def scope(self, run: Hashable) -> Scope:
        """Return the scope of *run*: its own, completed by those it was called from (other threads included)."""
        found = current_scope()
        for above in self._upwards(run):
            entry = self._runs.get(above)
            if entry is not None:
                found = found.filled_from(entry.scope)
        return found

    def name(self, run: Hashable | None) -> str | None:
        """Return the name of the outermost run above *run*, itself included, that has one."""
        names = [entry.name for above in self._upwards(run) if (entry := self._runs.get(above)) and entry.name]
        return names[-1] if names else None

    def learn(self, run: Hashable | None, known: Sequence[Known]) -> None:
        """Note template variables of a prompt that was built directly under *run*."""
        entry = self._runs.get(run)
        if entry is not None:
            entry.known = tuple(known)

    def known(self, run: Hashable) -> tuple[Known, ...]:
        """Return the template variables noted nearest above *run*."""
        for above in self._upwards(run):
            entry = self._runs.get(above)
            if entry is not None and entry.known:
                return entry.known
        return ()

    def retrieved(self, run: Hashable, texts: Sequence[str]) -> None:
        """Note texts that a retriever returned anywhere in the trace of *run*."""
        entry = self._runs.get(self.root(run))
        if entry is not None:
            entry.texts = list(dict.fromkeys([*entry.texts, *texts]))[-MAX_TEXTS:]

    def texts(self, run: Hashable) -> tuple[str, ...]:
        """Return the texts retrieved so far in the trace of *run*."""
        entry = self._runs.get(self.root(run))
        return tuple(entry.texts) if entry is not None else ()

    def _upwards(self, run: Hashable) -> Iterator[Hashable]:
        for _ in range(MAX_DEPTH):
            yield run
            entry = self._runs.get(run)
            if entry is None or entry.parent is None:
                return
            run = entry.parent
