"""Turns one finished call into one event: counted, attributed, reconciled, priced. Runs in the recorder's thread."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.tokens import Calibration, PromptCount, TokenCounter
from tokenwise_core.usage.attribution import attribute
from tokenwise_core.usage.call import Answered, CallDetails, Known
from tokenwise_core.usage.components import Breakdown, Component, CountSource, worst_source
from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PrefixLedger, PrefixPart
from tokenwise_core.usage.reconcile import Part, parts_of, reconcile
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

    *keep_text* stores each call's prompt and answer as JSON in `UsageEvent.text` (the recorder's redact hook sees it
    first); off by default.
    """

    def __init__(
        self,
        *,
        prices: PriceBook | None = None,
        calibration: Calibration | None = None,
        prefixes: PrefixLedger | None = None,
        keep_text: bool = False,
    ) -> None:
        self.prices = prices or PriceBook()
        self.calibration = calibration or Calibration()
        self.prefixes = prefixes or PrefixLedger(clock=time.time)
        self._keep_text = keep_text
        self._counters: dict[tuple[str | None, str | None], TokenCounter] = {}
        self._responses: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def counter(self, model: str | None, provider: str | None = None) -> TokenCounter:
        """Return the counter of *model*, made once."""
        key = (model, provider)
        if key not in self._counters:
            self._counters[key] = TokenCounter.for_model(model or "", provider=provider, calibration=self.calibration)
        return self._counters[key]

    def event(self, call: Call) -> UsageEvent | None:
        """Return the event of *call*; None where another framework has booked the same response already."""
        details = call.details()
        answered = call.answered() if call.answered else Answered()
        if self._seen(answered.response_id, call):
            return None
        event = self._described(call, details, answered)
        if details.operation == "embedding":
            return self._embedding(event, details, answered)
        model = answered.response_model or details.model
        counter = self.counter(details.model or model, details.provider)
        count = counter.count(details.prompt)
        attribution = attribute(
            details.prompt, known=(*details.known, *call.known), retrieved=call.texts, templated=details.templated
        )
        parts = parts_of(details.prompt, attribution, count, counter)
        if call.status is Status.CACHE_HIT:
            return self._hit(event, answered, count, counter)
        usage = self._usage(answered, count, counter, call.status)
        breakdown = reconcile(
            parts, usage, counter.answer(answered.answer), count.source, unknown=_uncounted(details.prompt)
        )
        if usage.source is CountSource.REPORTED and usage.input_tokens and call.status is Status.OK:
            counter.observe(count, usage.input_tokens)
        return self._prefixed(
            replace(
                event,
                usage=usage,
                breakdown=breakdown,
                estimate_before=count.total,
                scale=usage.input_tokens / count.total if usage.input_tokens and count.total else None,
                cost=self.prices.cost(usage, model=model, provider=details.provider, at=call.ts),
                savings=(*call.savings, *self._prompt_cache(usage, model, details.provider, call.ts)),
            ),
            details.prompt,
            parts,
        )

    def _seen(self, response_id: str | None, call: Call) -> bool:
        if response_id is None or call.status is Status.CACHE_HIT:
            return False
        with self._lock:
            first = self._responses.setdefault(response_id, call.framework)
            if len(self._responses) > MAX_RESPONSES:
                self._responses.popitem(last=False)
        return first != call.framework

    def _described(self, call: Call, details: CallDetails, answered: Answered) -> UsageEvent:
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
            fingerprint=fingerprint(details.prompt),
            text=_text(details.prompt, answered.answer) if self._keep_text else None,
        )

    def _usage(self, answered: Answered, count: PromptCount, counter: TokenCounter, status: Status) -> Usage:
        """Return what was reported, completed by our own count where the provider said nothing."""
        reported = answered.usage or Usage()
        if reported.input_tokens is not None and reported.output_tokens is not None:
            return reported
        if status is Status.ERROR and reported.input_tokens is None and not answered.answer.text:
            return Usage(input_tokens=0, output_tokens=0, source=CountSource.REPORTED)  # refused before the model ran
        answer = counter.answer(answered.answer)
        input_tokens = count.total if reported.input_tokens is None else reported.input_tokens
        output = answer.response + answer.tool_calls + answer.reasoning
        return replace(
            reported,
            input_tokens=input_tokens,
            input_uncached=input_tokens - (reported.input_sum - (reported.input_uncached or 0)),
            output_tokens=output if reported.output_tokens is None else reported.output_tokens,
            output_text=answer.response + answer.tool_calls
            if reported.output_tokens is None
            else reported.output_text,
            reasoning=answer.reasoning if reported.output_tokens is None else reported.reasoning,
            source=worst_source((count.source, CountSource.EXACT)),
        )

    def _embedding(self, event: UsageEvent, details: CallDetails, answered: Answered) -> UsageEvent:
        """Embeddings are counted apart: input only, one component, no prefix."""
        counter = self.counter(details.model, details.provider)
        counted = sum(counter.text(message.text) for message in details.prompt.messages)
        usage = answered.usage
        if usage is None or usage.input_tokens is None:
            usage = Usage(
                input_tokens=counted, input_uncached=counted, output_tokens=0, source=worst_source((counter.source,))
            )
        tokens = {Component.USER_INPUT: usage.input_tokens} if usage.input_tokens else {}
        return replace(
            event,
            usage=usage,
            breakdown=Breakdown(tokens=tokens, calls=1, source=usage.source, split=CountSource.EXACT),
            estimate_before=counted,
            cost=self.prices.cost(usage, model=details.model, provider=details.provider, at=event.ts),
        )

    def _hit(self, event: UsageEvent, answered: Answered, count: PromptCount, counter: TokenCounter) -> UsageEvent:
        """Book a framework's cache hit: nothing spent, what the call would have cost is saved."""
        reported = answered.usage
        answer = counter.answer(answered.answer)
        known = reported is not None and reported.input_tokens is not None and reported.output_tokens is not None
        would = (
            reported
            if known and reported is not None
            else Usage(
                input_tokens=count.total,
                input_uncached=count.total,
                output_tokens=answer.response + answer.tool_calls,
                output_text=answer.response + answer.tool_calls,
                source=count.source,
            )
        )
        cost = self.prices.cost(would, model=event.model, provider=event.provider, at=event.ts)
        saving = cache_hit_saving(would, cost, lever="llm_cache")
        nothing = Usage(input_tokens=0, output_tokens=0)
        return replace(
            event,
            usage=nothing,
            breakdown=Breakdown(calls=1),
            cost=Cost(nano=0),
            estimate_before=count.total,
            savings=event.savings or (saving,),
        )

    def _prompt_cache(self, usage: Usage, model: str | None, provider: str | None, at: float) -> tuple[Saving, ...]:
        if not (usage.cache_read or usage.cache_write_5m or usage.cache_write_1h):
            return ()
        saving = prompt_cache_saving(usage, self.prices.price(model or "", provider=provider, at=at))
        return (saving,) if saving else ()

    def _prefixed(self, event: UsageEvent, prompt: Prompt, parts: Sequence[Part]) -> UsageEvent:
        key = (event.scope.session or event.scope.trace, event.model)
        report = self.prefixes.observe(key, _prefix_parts(prompt, parts))
        return replace(event, stable_prefix_tokens=report.stable_tokens, prefix_break=report.broken_by)


def _uncounted(prompt: Prompt) -> Component | None:
    """Return the component whose size only the provider knows: built-in tools, else media."""
    if any(tool.kind != "function" for tool in prompt.tools):
        return Component.TOOL_DEFINITIONS
    if any(message.media for message in prompt.messages):
        return Component.MEDIA
    return None


def fingerprint(prompt: Prompt) -> str:
    """Hash the fixed parts of *prompt*: system messages before the first turn, tools and answer schema."""
    digest = hashlib.blake2b(digest_size=8)
    for message in prompt.messages:
        if message.role not in ("system", "developer"):
            break
        digest.update(message.text.encode("utf-8", "surrogatepass"))
    digest.update(_fixed_digest(prompt))
    return digest.hexdigest()


def _fixed_digest(prompt: Prompt) -> bytes:
    tools = [(tool.name, tool.description, tool.parameters) for tool in prompt.tools]
    schema = prompt.output_schema and (prompt.output_schema.name, prompt.output_schema.schema)
    text = json.dumps([tools, schema], sort_keys=False, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _message_digest(message: Message) -> bytes:
    digest = hashlib.blake2b(message.role.encode(), digest_size=16)
    for text in (message.text, message.reasoning, *(f"{c.name}({c.arguments})" for c in message.tool_calls)):
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _prefix_parts(prompt: Prompt, parts: Sequence[Part]) -> list[PrefixPart]:
    """Group *parts* by where they stand: each message is one piece, tools and schema together are one."""
    tokens: OrderedDict[int | None, int] = OrderedDict()
    names: dict[int | None, tuple[int, str]] = {}
    for part in parts:
        tokens[part.message] = tokens.get(part.message, 0) + part.tokens
        if part.tokens > names.get(part.message, (0, ""))[0]:
            names[part.message] = (part.tokens, str(part.component))
    fixed = _fixed_digest(prompt)
    return [
        PrefixPart(
            digest=fixed if where is None else _message_digest(prompt.messages[where]),
            tokens=size,
            component=names.get(where, (0, str(Component.OVERHEAD)))[1],
        )
        for where, size in tokens.items()
        if where is not None or prompt.tools or prompt.output_schema
    ]


def _text(prompt: Prompt, answer: Answer) -> str:
    messages: list[Mapping[str, object]] = [{"role": m.role, "text": m.text} for m in prompt.messages]
    return json.dumps({"messages": messages, "answer": answer.text}, ensure_ascii=False)


__all__ = ["Accountant", "Call", "fingerprint"]
