"""Tokens of texts, prompts and answers, by part, for any model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from tokenwise_core.messages import Answer, Prompt
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.calibration import Calibration
from tokenwise_core.tokens.counts import AnswerCount, Count, PromptCount
from tokenwise_core.tokens.estimating import FamilyRendering
from tokenwise_core.tokens.media import image_rule
from tokenwise_core.tokens.memo import Memo, text_key
from tokenwise_core.tokens.models import UNKNOWN, Family, base_name, family_of
from tokenwise_core.tokens.rendering import OpenAIRendering
from tokenwise_core.tokens.scaling import scaled
from tokenwise_core.tokens.tokenizers import Tokenizer, tokenizer
from tokenwise_core.usage.components import CountSource

log = logging.getLogger("tokenwise.tokens")


class TokenCounter:
    """Count tokens as one model's provider would; safe to share between threads, and to pickle.

    >>> counter = TokenCounter.for_model("gpt-4o")
    >>> counter.text("Hello, world")
    3

    For a model that we don't know, give any function from text to tokens: `TokenCounter(my_count, model="mine")`.
    *calibration* is what corrects the estimates of models without a published rendering; counters may share one.
    """

    def __init__(
        self,
        count: CountText,
        *,
        model: str = "unknown",
        family: Family = UNKNOWN,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.family = family
        self.calibration = calibration if calibration is not None else Calibration()
        self._tokenizer = count if isinstance(count, Tokenizer) else None
        self._count: CountText = count.count if isinstance(count, Tokenizer) else _remembering(count)
        self._given = count
        self._rendering, self._generation = self._build()
        kinds = (f"{base_name(model)}|{{}}", f"family {family.name}|{{}}")
        self._keys = {tools: tuple(k.format("tools" if tools else "plain") for k in kinds) for tools in (True, False)}

    @classmethod
    def for_model(
        cls, model: str, *, provider: str | None = None, calibration: Calibration | None = None
    ) -> TokenCounter:
        """Return the counter of *model*; *provider* helps with a name that says nothing (an Azure deployment)."""
        family = family_of(model)
        if family is UNKNOWN and provider:
            family = family_of(provider)
        if family is UNKNOWN:
            _warn_of_unknown(model)
        return cls(tokenizer(family.encoding), model=model, family=family, calibration=calibration)

    def prepare(self) -> None:
        """Load the tokeniser in a thread (0.1 to 0.3 s), so that the first count need not wait for it."""
        if self._tokenizer is not None:
            self._tokenizer.prepare()

    @property
    def is_loaded(self) -> bool:
        """Say whether a count need not wait for the tokeniser."""
        return self._tokenizer is None or self._tokenizer.is_loaded

    @property
    def source(self) -> CountSource:
        """How good a count of plain text is: `exact` with the model's own tokeniser, else `estimated`."""
        if self._tokenizer is None:
            return CountSource.EXACT
        return CountSource.ESTIMATED if self.family.template == "estimated" else self._tokenizer.source

    def text(self, text: str) -> int:
        """Return the tokens of *text* alone."""
        return self._count(text)

    def count_text(self, text: str) -> Count:
        """Count *text* alone, with its provenance."""
        return Count(tokens=self._count(text), source=self.source)

    def count(self, prompt: Prompt) -> PromptCount:
        """Count a whole prompt by part; parts sum to the total."""
        if self._tokenizer is not None and self._tokenizer.generation != self._generation:
            self._rendering, self._generation = self._build()  # the real tokeniser has arrived: forget the estimates
        counted = self._rendering.prompt(prompt, source=self.source)
        if counted.basis is None:
            return counted
        correction, observed = self.calibration.correction(*self._keys[counted.basis.tools])
        if not observed:
            return counted
        return scaled(counted, round(correction(counted.basis.estimate)), CountSource.CALIBRATED)

    def answer(self, answer: Answer) -> AnswerCount:
        """Count what came back, by part."""
        count = self._count
        return AnswerCount(
            response=count(answer.text),
            tool_calls=sum(count(call.name) + count(call.arguments) for call in answer.tool_calls),
            reasoning=count(answer.reasoning),
            source=self.source,
        )

    def observe(self, counted: PromptCount, reported_input: int) -> None:
        """Learn from the prompt tokens that the provider reported for a prompt counted here."""
        if counted.basis is not None:
            self.calibration.observe(counted.basis.estimate, reported_input, *self._keys[counted.basis.tools])

    def _build(self) -> tuple[OpenAIRendering | FamilyRendering, int]:
        generation = self._tokenizer.generation if self._tokenizer is not None else 0
        image = image_rule(self.model)
        if self.family.template == "estimated":
            return FamilyRendering(self._count, self.family, image), generation
        return OpenAIRendering(self._count, self.family, image), generation

    def __getstate__(self) -> Mapping[str, Any]:
        return {
            "count": None if self._tokenizer is not None else self._given,
            "model": self.model,
            "family": self.family,
            "calibration": self.calibration,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        kept = dict(state)
        count = kept.pop("count") or tokenizer(state["family"].encoding)
        TokenCounter.__init__(self, count, **kept)


def _remembering(count: CountText) -> CountText:
    memo: Memo[int] = Memo()

    def remembered(text: str) -> int:
        key = text_key(text)
        known = memo.get(key)
        if known is None:
            known = count(text)
            memo.put(key, known)
        return known

    return remembered


@cache
def _warn_of_unknown(model: str) -> None:
    """Say once for each name that its counts are estimates."""
    named = f"unknown model {model}" if model else "a model without a name"
    log.warning("%s: its prompts are estimated until usage is reported", named)
