"""Turns one finished call into one event: counted, attributed, reconciled, priced. Runs in the recorder's thread."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenwise_core.messages import Answer, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.tokens import Calibration, PromptCount, TokenCounter
from tokenwise_core.usage.attribution import attribute
from tokenwise_core.usage.call import Answered, CallDetails, Known
from tokenwise_core.usage.components import Breakdown, Component, CountSource
from tokenwise_core.usage.estimate import NOTHING_USED, completed
from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.fingerprint import fingerprint, fixed_digest, prefix_parts
from tokenwise_core.usage.noted import announced_in
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PrefixLedger, PrefixPart
from tokenwise_core.usage.reconcile import Part, fitted, parts_of, reconcile
from tokenwise_core.usage.savings import Saving, cache_hit_saving, prompt_cache_saving

log = logging.getLogger("tokenwise.usage")

MAX_RESPONSES = 4096  # response ids remembered, to book once what two frameworks both report


@dataclass(slots=True, kw_only=True)
class Call:
    """A call that has ended, as the meter saw it."""

    id: str
    ts: float
    framework: str
    details: Callable[[], CallDetails]
    answered: Callable[[], Answered] | None
    scope: Scope
    trace: str
    parent: str | None = None
    known: tuple[Known, ...] = ()
    texts: tuple[str, ...] = ()
    status: Status = Status.OK
    error_type: str | None = None
    streamed: bool = False
    latency_ms: float | None = None
    ttft_ms: float | None = None
    savings: tuple[Saving, ...] = ()


class Accountant:
    """Counts, splits and prices calls; shared by all handlers of one store.

    *counters* count models that we don't know, by name. *prepare* is called once, before the first event. *keep_text*
    stores each call's prompt and answer as JSON in `UsageEvent.text` (the recorder's redact hook sees it first); off by
    default.
    """

    def __init__(
        self,
        *,
        prices: PriceBook | None = None,
        calibration: Calibration | None = None,
        prefixes: PrefixLedger | None = None,
        counters: Mapping[str, TokenCounter] | None = None,
        keep_text: bool = False,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.prices = prices or PriceBook()
        self.calibration = calibration or Calibration()
        self.prefixes = prefixes or PrefixLedger(clock=time.time)
        self._keep_text = keep_text
        self._prepare = prepare
        self._given = dict(counters or {})
        self._counters: dict[tuple[str | None, str | None], TokenCounter] = {}
        self._responses: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def counter(self, model: str | None, provider: str | None = None) -> TokenCounter:
        """Return the counter of *model*: the one that was given for it, else one of ours, made once."""
        if model in self._given:
            return self._given[model]
        key = (model, provider)
        if key not in self._counters:
            self._counters[key] = TokenCounter.for_model(model or "", provider=provider, calibration=self.calibration)
        return self._counters[key]

    def event(self, call: Call) -> UsageEvent | None:
        """Return the event of *call*; None where another framework has booked the same response already."""
        if self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            prepare()
        details = call.details()
        answered = call.answered() if call.answered else Answered()
        if self._seen(answered.response_id, call):
            return None
        fixed = fixed_digest(details.prompt)
        event = _described(call, details, answered, keep_text=self._keep_text)
        event = replace(event, fingerprint=fingerprint(details.prompt, fixed))
        counter = self.counter(details.model or answered.response_model, details.provider)
        if details.operation == "embedding":
            return self._embedding(event, details.prompt, answered, counter)
        count = counter.count(details.prompt)
        event = replace(event, estimate_before=count.total)
        answer = counter.answer(answered.answer)
        certain = _is_whole(call.status, counter)
        if call.status is Status.CACHE_HIT:
            return self._hit(event, answered, completed(answered.usage, count, answer, certain=certain))
        refused = call.status is Status.ERROR and answered.usage is None and not answer.total
        usage = NOTHING_USED if refused else completed(answered.usage, count, answer, certain=certain)
        if call.status is Status.OK and usage.source is CountSource.REPORTED and usage.input_tokens:
            counter.observe(count, usage.input_tokens)
        known = (*details.known, *call.known)
        attribution = attribute(details.prompt, known=known, retrieved=call.texts, templated=details.templated)
        parts: Sequence[Part] = parts_of(details.prompt, attribution, count, counter)
        if not refused:
            parts = fitted(parts, usage.input_tokens, count.source, _uncounted(details.prompt))
        breakdown = reconcile(() if refused else parts, usage, answer, count.source)
        event = replace(event, usage=usage, breakdown=breakdown, scale=_scale(usage, count))
        event = self._with_announced(event, details.prompt)
        return self._prefixed(self._priced(event), prefix_parts(details.prompt, parts, fixed))

    def _seen(self, response_id: str | None, call: Call) -> bool:
        if response_id is None or call.status is Status.CACHE_HIT:
            return False
        with self._lock:
            first = self._responses.setdefault(response_id, call.framework)
            if len(self._responses) > MAX_RESPONSES:
                self._responses.popitem(last=False)
        return first != call.framework

    def _with_announced(self, event: UsageEvent, prompt: Prompt) -> UsageEvent:
        """Add what levers announced for this call."""
        announced = announced_in(prompt)
        if not announced:
            return event
        model = self._priced_name(event)
        price = self.prices.price(model or "", provider=event.provider, at=event.ts)
        return replace(event, savings=(*event.savings, *(one.saving(price) for one in announced)))

    def _priced(self, event: UsageEvent) -> UsageEvent:
        """Add the cost, and what the provider's prompt cache saved of it."""
        model = self._priced_name(event)
        cost = self.prices.cost(event.usage, model=model, provider=event.provider, at=event.ts)
        cached = event.usage.cache_read or event.usage.cache_write_5m or event.usage.cache_write_1h
        if not cached:
            return replace(event, cost=cost)
        price = self.prices.price(model or "", provider=event.provider, at=event.ts)
        saving = prompt_cache_saving(event.usage, price)
        return replace(event, cost=cost, savings=(*event.savings, saving) if saving else event.savings)

    def _priced_name(self, event: UsageEvent) -> str | None:
        """Return the answering model's name, or the asked one's where the former is an unpriced version of it."""
        asked, answered = event.request_model, event.response_model
        if asked and answered and answered != asked and answered.startswith(asked):
            known = self.prices.price(answered, provider=event.provider, at=event.ts)
            return answered if known else asked
        return event.model

    def _embedding(self, event: UsageEvent, prompt: Prompt, answered: Answered, counter: TokenCounter) -> UsageEvent:
        """Embeddings are counted apart: input only, one component, no prefix."""
        counted = sum(counter.text(message.text) for message in prompt.messages)
        usage = answered.usage
        if usage is None or usage.input_tokens is None:
            usage = Usage(input_tokens=counted, input_uncached=counted, output_tokens=0, source=counter.source)
        tokens = {Component.USER_INPUT: usage.input_tokens} if usage.input_tokens else {}
        breakdown = Breakdown(tokens=tokens, calls=1, source=usage.source)
        return self._priced(replace(event, usage=usage, breakdown=breakdown, estimate_before=counted))

    def _hit(self, event: UsageEvent, answered: Answered, would: Usage) -> UsageEvent:
        """Book a cache hit: nothing spent; what the call *would* have cost is saved."""
        cost = self.prices.cost(would, model=event.model, provider=event.provider, at=event.ts)
        saving = cache_hit_saving(would, cost, lever=answered.lever, reason=answered.saving_reason)
        savings = event.savings or (saving,)
        return replace(event, usage=NOTHING_USED, breakdown=Breakdown(calls=1), cost=Cost(nano=0), savings=savings)

    def _prefixed(self, event: UsageEvent, parts: Sequence[PrefixPart]) -> UsageEvent:
        key = (event.scope.session or event.scope.trace, event.model)
        report = self.prefixes.observe(key, parts)
        return replace(event, stable_prefix_tokens=report.stable_tokens, prefix_break=report.broken_by)


def _described(call: Call, details: CallDetails, answered: Answered, *, keep_text: bool) -> UsageEvent:
    """Return the event as far as the meter and the adapter tell it."""
    scope = call.scope.filled_from(details.scope)
    return UsageEvent(
        id=call.id,
        ts=call.ts,
        scope=scope if scope.trace else replace(scope, trace=call.trace),
        framework=call.framework,
        parent_id=call.parent,
        provider=details.provider,
        request_model=details.model,
        response_model=answered.response_model,
        operation=details.operation,
        node=details.node,
        run_name=details.run_name,
        status=call.status,
        error_type=call.error_type,
        streamed=call.streamed,
        latency_ms=call.latency_ms,
        ttft_ms=call.ttft_ms,
        finish_reason=answered.answer.finish_reason,
        messages=len(details.prompt.messages),
        tools_offered=len(details.prompt.tools),
        savings=call.savings,
        text=_text(details.prompt, answered.answer) if keep_text else None,
    )


def _scale(usage: Usage, count: PromptCount) -> float | None:
    return usage.input_tokens / count.total if usage.input_tokens and count.total else None


def _is_whole(status: Status, counter: TokenCounter) -> bool:
    """Say whether all output is in the answer: not where it was broken off, nor where a model hides its thoughts."""
    return status in {Status.OK, Status.CACHE_HIT} and counter.family.template != "reasoning"


def _uncounted(prompt: Prompt) -> Component | None:
    """Return the component whose size only the provider knows: built-in tools, else media."""
    if any(tool.kind != "function" for tool in prompt.tools):
        return Component.TOOL_DEFINITIONS
    if any(message.media for message in prompt.messages):
        return Component.MEDIA
    return None


def _text(prompt: Prompt, answer: Answer) -> str:
    messages: list[Mapping[str, object]] = [{"role": m.role, "text": m.text} for m in prompt.messages]
    return json.dumps({"messages": messages, "answer": answer.text}, ensure_ascii=False)
