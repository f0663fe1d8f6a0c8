"""Joins the start and the end of each model call and hands one finished call to the recorder.

Both adapters drive this and nothing else. On the request path it stores a snapshot and a time; prompts are projected,
counted and attributed in the recorder's thread. It never raises.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tokenwise_core.protocols import Clock
from tokenwise_core.scoping import Scope
from tokenwise_core.switch import enabled
from tokenwise_core.usage.accountant import Accountant, Call
from tokenwise_core.usage.call import Answered, CallDetails, Known
from tokenwise_core.usage.components import Breakdown
from tokenwise_core.usage.events import NANO, Status, UsageEvent
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.savings import Saving
from tokenwise_core.usage.traces import Traces

log = logging.getLogger("tokenwise.usage")

MAX_OPEN = 20_000  # calls that may be under way at once; older ones are taken for lost
MAX_EVENTS = 10_000  # finished events that a handler keeps in memory for its own report
SETTLE_S = 5.0  # a report must not hang on a database that does
MAX_REMEMBERED = 256  # retrieved texts remembered per session, for history that quotes them


@dataclass(slots=True)
class _Open:
    details: Callable[[], CallDetails]
    scope: Scope
    parent: Hashable | None
    trace: Hashable
    known: tuple[Known, ...]
    texts: tuple[str, ...]
    ts: float
    began: float
    streamed: bool
    first: float | None = None
    nested: bool = False


class Meter:
    """The state of one handler: calls under way, the tree they hang in, and what has been finished.

    *log_calls* writes one INFO record a call to the logger `tokenwise.usage`.
    """

    def __init__(
        self,
        recorder: Recorder,
        accountant: Accountant,
        *,
        framework: str,
        log_calls: bool = True,
        clock: Clock = time.time,
        timer: Clock = time.perf_counter,
    ) -> None:
        self.traces = Traces()
        self.recorder = recorder
        self.errors = 0
        self._accountant = accountant
        self._framework = framework
        self._log_calls = log_calls
        self._clock, self._timer = clock, timer
        self._open: OrderedDict[Hashable, _Open] = OrderedDict()
        self._remembered: OrderedDict[str | None, deque[str]] = OrderedDict()
        self._events: deque[UsageEvent] = deque(maxlen=MAX_EVENTS)
        self._total = Breakdown()
        self._finished = 0
        self._nano: int | None = None
        self._outer: Meter | None = None

    def start(
        self,
        run: Hashable,
        details: Callable[[], CallDetails],
        *,
        parent: Hashable | None = None,
        streamed: bool = False,
    ) -> None:
        """Note that the model call *run* begins; *details* must hold its own snapshot of what it describes."""
        if not enabled():
            return
        traces = self.traces
        traces.enter(run, parent)
        above = traces.ancestors(run)
        for ancestor in above:
            outer = self._open.get(ancestor)
            if outer is not None:
                outer.nested = True  # a call inside a call: only the leaf is a provider response
        trace = above[-1] if above else run
        scope = traces.scope(run)
        self._open[run] = _Open(
            details=details,
            scope=scope,
            parent=parent,
            trace=trace,
            known=traces.known(run),
            texts=(*traces.texts(run), *self._remembered.get(scope.session, ())),
            ts=self._clock(),
            began=self._timer(),
            streamed=streamed,
        )
        if len(self._open) > MAX_OPEN:
            self._lose_oldest()

    def first_token(self, run: Hashable) -> None:
        """Note the time of the first streamed token; later calls for the same run do nothing."""
        call = self._open.get(run)
        if call is not None and call.first is None:
            call.first = self._timer()
            call.streamed = True

    def end(
        self,
        run: Hashable,
        answered: Callable[[], Answered] | None,
        *,
        status: Status = Status.OK,
        error_type: str | None = None,
        savings: tuple[Saving, ...] = (),
    ) -> None:
        """Note that *run* ended, well or not; an unknown or already ended run is ignored."""
        call = self._open.pop(run, None)
        self.traces.leave(run)
        if call is None or call.nested:
            return
        now = self._timer()
        finished = Call(
            id=str(run),
            ts=call.ts,
            framework=self._framework,
            details=call.details,
            answered=answered,
            scope=call.scope,
            trace=str(call.trace),
            parent=None if call.parent is None else str(call.parent),
            known=call.known,
            texts=call.texts,
            status=status,
            error_type=error_type,
            streamed=call.streamed,
            latency_ms=(now - call.began) * 1e3,
            ttft_ms=None if call.first is None else (call.first - call.began) * 1e3,
            savings=savings,
        )
        self.recorder.submit(lambda: self._book(finished))

    def abort_under(
        self,
        run: Hashable,
        *,
        error_type: str | None = None,
        heard: Callable[[Hashable], Callable[[], Answered] | None] | None = None,
    ) -> None:
        """End every call still open below *run*: the frameworks say nothing to a model call that is cancelled.

        *heard* returns what had come of a call's answer, None for nothing.
        """
        for call in tuple(self._open):
            if run in self.traces.ancestors(call):
                self.end(call, heard(call) if heard else None, status=Status.ABORTED, error_type=error_type)

    def retrieved(self, run: Hashable, texts: Sequence[str]) -> None:
        """Note texts that a retriever returned in the trace of *run*, to be found in the prompts that follow."""
        if not enabled():
            return
        self.traces.retrieved(run, texts)
        session = self.traces.scope(run).session
        remembered = self._remembered.setdefault(session, deque(maxlen=MAX_REMEMBERED))
        for text in texts:
            if text not in remembered:
                remembered.append(text)
        self._remembered.move_to_end(session)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def report_to(self, outer: Meter) -> None:
        """Let *outer* report each event of this meter too; it is stored once, by this one's recorder."""
        self._outer = outer

    def is_open(self, run: Hashable) -> bool:
        """Say whether *run* is a model call that has started and not ended."""
        return run in self._open

    def open_runs(self) -> tuple[Hashable, ...]:
        """Return the model calls under way, oldest first."""
        return tuple(self._open)

    def settle(self) -> bool:
        """Wait until the calls that have ended are counted, for at most five seconds; say whether they are."""
        done = self.recorder.settle(SETTLE_S)
        if not done:
            log.warning("calls are still being counted after %g s: what is reported is not complete", SETTLE_S)
        return done

    def breakdown(self) -> Breakdown:
        """Return the sum over all calls finished so far (waits for those being counted)."""
        self.settle()
        return self._total

    def events(self) -> tuple[UsageEvent, ...]:
        """Return the newest finished events, oldest first (at most 10,000)."""
        self.settle()
        return tuple(self._events)

    def cost(self) -> Decimal | None:
        """Return what all calls with a known price cost in US dollars; None where none has one."""
        self.settle()
        return None if self._nano is None else Decimal(self._nano) / NANO

    @property
    def finished(self) -> int:
        """How many calls have been finished so far, also those too old for `events()`."""
        return self._finished

    def reset(self) -> None:
        """Forget what has been finished so far; the store keeps it."""
        self.settle()
        self._events.clear()
        self._total = Breakdown()
        self._finished, self._nano = 0, None

    def _book(self, call: Call) -> UsageEvent | None:
        """Make the event; runs in the recorder's thread."""
        event = self._accountant.event(call)
        if event is None:
            return None
        self.keep(event)
        if self._log_calls:
            log_event(event)
        return event

    def keep(self, event: UsageEvent) -> None:
        """Add *event* to what this meter, and the one that it reports to, can tell."""
        self._events.append(event)
        self._finished += 1
        if event.cost is not None:
            self._nano = (self._nano or 0) + event.cost.nano
        if event.operation != "embedding":
            self._total = self._total + event.breakdown
        if self._outer is not None:
            self._outer.keep(event)

    def _lose_oldest(self) -> None:
        try:
            self._open.popitem(last=False)
        except KeyError:  # another thread was quicker
            return
        self.errors += 1


def log_event(event: UsageEvent) -> None:
    """Write one structured INFO record: numbers and names, never text."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields = {
        "event_id": event.id,
        "model": event.model,
        "status": str(event.status),
        "session": event.scope.session,
        "agent": event.scope.agent,
        "input_tokens": event.breakdown.input_tokens,
        "output_tokens": event.breakdown.output_tokens,
        "cached_tokens": event.breakdown.cached_tokens,
        "cost_nano": event.cost.nano if event.cost else None,
        "source": str(event.breakdown.source),
        "components": {str(component): tokens for component, tokens in event.breakdown.tokens.items()},
    }
    log.info("call %s", " ".join(f"{k}={v}" for k, v in fields.items() if v is not None), extra={"tokenwise": fields})
