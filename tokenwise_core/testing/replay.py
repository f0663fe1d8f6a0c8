"""A recorded model that can lose quality: it answers rightly only what the prompt it received gives it to answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

from tokenwise_core.demo.workload.values import Conversation, Evidence, RecordedCall, Turn, Workload
from tokenwise_core.messages import Answer, Prompt, ToolCall
from tokenwise_core.protocols import Clock
from tokenwise_core.testing.prompt_cache import PromptCache
from tokenwise_core.testing.recordings import Match, Recordings
from tokenwise_core.testing.requests import Request, last_user, read_request
from tokenwise_core.testing.structured import fill, forced_tool, is_valid, may_call
from tokenwise_core.testing.wire import ProviderFormat, ReplayChunk, Spent, cached_tokens, pieces, usage_on_the_wire
from tokenwise_core.text.extractive import extract
from tokenwise_core.tokens.counter import TokenCounter

Tier = Literal["cheap", "strong"]

UNKNOWN = "I have no recording for this."
SUMMARY_PREFIX = "Extractive summary:"
COUNTED_AS = "gpt-4o-mini"
"""The replayed models have no tokeniser of their own: they count as this one does."""
REPLAY_PRICES: Mapping[str, Any] = {
    "models": {
        "replay-cheap": {"input": 0.25, "cache_read": 0.025, "output": 2.00, "context_window": 128_000},
        "replay-strong": {"input": 1.25, "cache_read": 0.125, "output": 10.00, "context_window": 128_000},
    }
}
"""Imaginary prices of the two replayed models, in dollars for a million tokens, as overrides for a `PriceBook`.

Nobody sells these models. The figures stand five to one as the list prices of gpt-5-mini and gpt-5 do (August 2025).
"""

_SUMMARY_SHARE = 1 / 3
_SUMMARY_TOKENS = (64, 400)  # at least and at most, where the prompt names no length
_CHEAP_GUESSES_ONE_IN = 3
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAnswer:
    """What the replayed model answered, the usage it reports, and why it answered so.

    *turn_id* is the recorded turn (None when the prompt asks none); *found* and *missing* are its evidence in the
    prompt that was received.
    """

    answer: Answer
    usage: Mapping[str, Any]
    why: str
    turn_id: str | None = None
    found: tuple[Evidence, ...] = ()
    missing: tuple[Evidence, ...] = ()


class Replay:
    """Plays recorded turns back, as a cheap or a strong model would have answered the prompt that it is given.

    - A recorded tool call is made only where that tool is offered and the call is valid under the offered schema.
    - The recorded answer is given only where all the turn's evidence stands in the prompt, outside the question, in
      any of its wordings; else the recorded "I don't know", or, for one turn in three of the cheap model (always the
      same ones), the recorded wrong answer.
    - Asked for a summary it returns an extractive one and says so; asked to make a question stand alone it returns
      the question; asked what was never recorded it says so.
    - Where the prompt demands JSON or forces a tool, the answer is put into it when it has a place there.
    - Usage is counted from the prompt received, in the provider's format, with a simulated prompt cache.

    Thread-safe.

    >>> replay = Replay(load_workload(), tier="cheap")
    >>> replay.answer(Prompt(messages=(Message(role="user", text="…"),))).why
    'not recorded'
    """

    def __init__(
        self,
        recorded: Workload | Iterable[Conversation] | Iterable[Turn],
        *,
        tier: Tier,
        clock: Clock = time.time,
        provider_format: ProviderFormat = "openai",
        counter: TokenCounter | None = None,
        prompt_cache: PromptCache | None = None,
    ) -> None:
        self.tier = tier
        self.provider_format = provider_format
        self._recordings = Recordings(recorded)
        self._counter = counter or TokenCounter.for_model(COUNTED_AS)
        self.prompt_cache = prompt_cache or PromptCache(clock=clock)

    @property
    def model(self) -> str:
        """The name it goes by: `replay-cheap` or `replay-strong`."""
        return f"replay-{self.tier}"

    def answer(self, prompt: Prompt) -> ReplayAnswer:
        """Answer *prompt* with what was recorded for it, as far as the prompt allows."""
        decided = self._decide(prompt)
        answer = self._limited(decided.answer, prompt)
        return replace(decided, answer=answer, usage=self._usage(prompt, answer, decided.turn_id))

    def stream(self, prompt: Prompt) -> Iterator[ReplayChunk]:
        """Yield the same answer in pieces; the last one has the usage."""
        answered = self.answer(prompt)
        return pieces(answered.answer, answered.usage)

    def _decide(self, prompt: Prompt) -> ReplayAnswer:
        request = read_request(prompt)
        at = last_user(prompt)
        recorded = at is not None and self._recordings.is_question(prompt.messages[at].text)
        if request.kind == "rewrite":
            return _said(request.text, why="rewritten question: unchanged")
        if request.kind == "summary" and not recorded:
            return _said(self._summary(request, prompt), why="extractive summary")
        match = self._recordings.match(prompt)
        if match is None:
            return _said(_in_form(UNKNOWN, prompt), why="not recorded")
        calls = _next_calls(match.turn, prompt, at=at or 0)
        if calls:
            answer, why = Answer(tool_calls=calls, finish_reason="tool_calls"), "recorded tool calls"
        else:
            text, why = self._recorded_text(match)
            answer = _in_form(text, prompt)
        return ReplayAnswer(
            answer=answer, usage={}, why=why, turn_id=match.turn.id, found=match.found, missing=match.missing
        )

    def _recorded_text(self, match: Match) -> tuple[str, str]:
        turn = match.turn
        if match.missing:
            if self.tier == "cheap" and _number(turn.id, "guess") % _CHEAP_GUESSES_ONE_IN == 0:
                return turn.wrong, "evidence missing: guessed"
            return turn.dont_know, "evidence missing: says so"
        if self.tier == "strong":
            return (turn.right, "recorded: right") if turn.strong_is_right else (turn.wrong, "recorded: wrong")
        return (turn.cheap or turn.right, "recorded: right") if turn.cheap_is_right else (turn.wrong, "recorded: wrong")

    def _summary(self, request: Request, prompt: Prompt) -> Answer:
        third = int(self._counter.text(request.text) * _SUMMARY_SHARE)
        room = request.max_tokens or min(max(third, _SUMMARY_TOKENS[0]), _SUMMARY_TOKENS[1])
        prefix = self._counter.text(SUMMARY_PREFIX + "\n")
        limit = min(room, _output_limit(prompt) or room)
        body = extract(request.text, max_tokens=max(1, limit - prefix), count=self._counter.text).text
        return _in_form(f"{SUMMARY_PREFIX}\n{body}" if body else f"{SUMMARY_PREFIX} nothing to extract.", prompt)

    def _limited(self, answer: Answer, prompt: Prompt) -> Answer:
        """Cut the text at the prompt's output limit, as a provider does."""
        limit = _output_limit(prompt)
        if limit is None or self._counter.text(answer.text) <= limit:
            return answer
        low, high = 0, len(answer.text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._counter.text(answer.text[:middle]) <= limit
            low, high = (middle, high) if fits else (low, middle - 1)
        return replace(answer, text=answer.text[:low], finish_reason="length")

    def _usage(self, prompt: Prompt, answer: Answer, turn_id: str | None) -> Mapping[str, Any]:
        count = self._counter.count(prompt)
        shared = self.prompt_cache.see(self.model, prompt)
        reasoning = self._reasoning_tokens(turn_id)
        spent = Spent(
            input=count.total,
            cached=cached_tokens(prompt, count, shared),
            output=self._counter.answer(answer).total + reasoning,
            reasoning=reasoning,
        )
        return usage_on_the_wire(spent, self.provider_format)

    def _reasoning_tokens(self, turn_id: str | None) -> int:
        """Return the strong model's reasoning over a turn: 0 to 192 tokens in steps of 64, always the same."""
        return 64 * (_number(turn_id, "reasoning") % 4) if self.tier == "strong" and turn_id else 0


def _said(answer: Answer | str, *, why: str) -> ReplayAnswer:
    if isinstance(answer, str):
        answer = Answer(text=answer, finish_reason="stop")
    return ReplayAnswer(answer=answer, usage={}, why=why)


def _in_form(text: str, prompt: Prompt) -> Answer:
    """Return *text* as the JSON or the forced tool call that the prompt demands, or as it is where it has no place."""
    forced = forced_tool(prompt, text)
    if forced is not None:
        tool, arguments = forced
        call = ToolCall(name=tool.name, arguments=_json(arguments), id=_call_id(tool.name, text))
        return Answer(tool_calls=(call,), finish_reason="tool_calls")
    if prompt.output_schema is not None:
        filled = fill(prompt.output_schema.schema, text)
        text = text if filled is None else _json(filled)
    return Answer(text=text, finish_reason="stop")


def _next_calls(turn: Turn, prompt: Prompt, *, at: int) -> tuple[ToolCall, ...]:
    """Return the recorded calls of the round that the prompt has come to, as far as the prompt allows them.

    *at* is the asking message; each later message with calls is one round.
    """
    rounds = sum(1 for message in prompt.messages[at:] if message.tool_calls)
    step: Sequence[RecordedCall] = turn.steps[rounds] if rounds < len(turn.steps) else ()
    offered = {tool.name: tool for tool in prompt.tools}
    return tuple(
        ToolCall(name=call.name, arguments=_json(call.arguments), id=_call_id(turn.id, rounds, position))
        for position, call in enumerate(step)
        if call.name in offered
        and may_call(prompt, call.name)
        and is_valid(dict(call.arguments), offered[call.name].parameters)
    )


def _output_limit(prompt: Prompt) -> int | None:
    limits = [prompt.options[name] for name in _LIMITS if isinstance(prompt.options.get(name), int)]
    return min(limits, default=None)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _call_id(*parts: object) -> str:
    return f"call_{_number(*parts):016x}"


def _number(*parts: object) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")
