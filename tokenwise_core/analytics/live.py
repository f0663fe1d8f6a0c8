"""What a handler can tell about the calls it has seen, without a query: shared by both frameworks' handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, overload

from tokenwise_core.analytics.formats import plain_report, rich_report
from tokenwise_core.analytics.html import html_tables
from tokenwise_core.analytics.report import EMBEDDING, Report, make_report
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Breakdown
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.savings import Ledger
from tokenwise_core.usage.store.memory import MemoryStore
from tokenwise_core.usage.store.protocol import Query

if TYPE_CHECKING:
    from rich.console import Group

    from tokenwise_core.usage.meter import Meter

_KEYS: Mapping[str, Callable[[UsageEvent], str | None]] = {
    "application": lambda event: event.scope.application,
    "agent": lambda event: event.scope.agent,
    "model": lambda event: event.model,
    "session": lambda event: event.scope.session,
    "user": lambda event: event.scope.user,
    "task": lambda event: event.scope.task,
    "node": lambda event: event.node,
    "run_name": lambda event: event.run_name,
    "trace": lambda event: event.scope.trace,
    "variant": lambda event: event.scope.variant,
    "provider": lambda event: event.provider,
    "status": lambda event: str(event.status),
    "day": lambda event: datetime.fromtimestamp(event.ts, UTC).date().isoformat(),
}


class Reporting:
    """Reads `self.meter`. Every method that reports first waits for the calls that are still being counted.

    Groups, money of components, savings and the report are over the newest 10,000 calls (`MAX_EVENTS`); the sums of
    `breakdown()` and `cost()` are over all, and the store has every call.
    """

    if TYPE_CHECKING:  # no annotation at run time: pydantic would make a field of it
        meter: Meter

    @overload
    def breakdown(self) -> Breakdown: ...
    @overload
    def breakdown(self, by: str) -> dict[str | None, Breakdown]: ...
    def breakdown(self, by: str | None = None) -> Breakdown | dict[str | None, Breakdown]:
        """Return where the tokens went: in all, or for each agent, model, session, node, user, task, day (UTC), ….

        The key None holds the calls that have no such name. Embeddings are not in it: `events()` has them.
        """
        if by is None:
            return self.meter.breakdown()
        if by not in _KEYS:
            raise BadInput(f"cannot group by {by!r}: choose from {', '.join(_KEYS)}")
        key, groups = _KEYS[by], dict[str | None, Breakdown]()
        for event in self.events():
            if event.operation != EMBEDDING:
                name = key(event)
                groups[name] = groups.get(name, Breakdown()) + event.breakdown
        return groups

    def events(self) -> tuple[UsageEvent, ...]:
        """Return the newest finished calls, oldest first; embeddings among them."""
        return self.meter.events()

    def cost(self) -> Decimal | None:
        """Return what the calls with a known price cost in US dollars, embeddings included; None if none has one.

        `report()` says how many calls had no price.
        """
        return self.meter.cost()

    def savings(self) -> Ledger:
        """Return what the levers saved on these calls: `by_lever()` sums it up, quality None is "not measured"."""
        return Ledger(saving for event in self.events() for saving in event.savings)

    def report(self) -> str:
        """Return a plain-text report: components, cost, models, latency, savings."""
        return plain_report(self._report())

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until every finished call is counted and stored; False when that took longer than *timeout_s*."""
        return self.meter.recorder.flush(timeout_s)

    async def aflush(self, timeout_s: float | None = None) -> bool:
        """Wait as `flush()` does, without holding up the event loop."""
        return await self.meter.recorder.aflush(timeout_s)

    def reset(self) -> None:
        """Forget the calls seen so far; the store keeps them."""
        self.meter.reset()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.meter.finished:,} calls finished>"

    def __str__(self) -> str:
        return self.report()

    def __rich__(self) -> Group:
        return rich_report(self._report())

    def _repr_html_(self) -> str:
        return html_tables(self._report())

    def _report(self) -> Report:
        events = self.events()
        store = MemoryStore()
        store.add(events)
        query = Query(since=min((event.ts for event in events), default=None))
        return replace(make_report(store, query), store="", unseen=max(0, self.meter.finished - len(events)))
