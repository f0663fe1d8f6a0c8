"""Tokens of texts, prompts and answers, by part, for any model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tokenwise_core.messages import Answer, Prompt
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.calibration import Calibration
from tokenwise_core.tokens.counts import AnswerCount, Basis, Count, PromptCount
from tokenwise_core.tokens.estimating import FamilyRendering
from tokenwise_core.tokens.memo import Memo, text_key
from tokenwise_core.tokens.models import UNKNOWN, Family, base_name, family_of
from tokenwise_core.tokens.rendering import OpenAIRendering
from tokenwise_core.tokens.scaling import scaled
from tokenwise_core.tokens.tokenizers import Tokenizer, tokenizer
from tokenwise_core.usage.components import CountSource

log = logging.getLogger("tokenwise.tokens")

class TokenCounter:
    """Count tokens as one model's provider would.

    >>> counter = TokenCounter.for_model("gpt-4o")
    >>> counter.text("Hello, world")
    3

    For a model that we don't know, give any function from text to tokens: `TokenCounter(my_count, model="mine")`.
    """

    def __init__(
        self, count: CountText, *, model: str = "unknown", family: Family = UNKNOWN, calibration: Calibration | None = None
    ) -> None:
        self.model = model
        self.family = family
        self.calibration = calibration if calibration is not None else Calibration()
        self._tokenizer = count if isinstance(count, Tokenizer) else None
        self._given = None if isinstance(count, Tokenizer) else count
        self._memo: Memo[int] = Memo()
        self._key = base_name(model)
        self.text = self._tokenizer.count if self._tokenizer is not None else self._remembered
        self._openai = OpenAIRendering(self.text, family) if family.template != "estimated" else None
        self._family = FamilyRendering(self.text, family)

    @classmethod
    def for_model(cls, model: str, *, provider: str | None = None, calibration: Calibration | None = None) -> TokenCounter:
        """Return the counter of *model*; a name that we don't know is counted with o200k and marked as an estimate."""
        family = family_of(model)
        if family is UNKNOWN and provider:
            family = family_of(provider)
        if family is UNKNOWN:
            log.warning("unknown model %s: its prompts are estimated with o200k_base until usage is reported", model)
        return cls(tokenizer(family.encoding), model=model, family=family, calibration=calibration)

    @property
    def source(self) -> CountSource:
        """How good a count of plain text is: `exact` with the model's own tokeniser, else `estimated`."""
        if self._tokenizer is None:
            return CountSource.EXACT
        return CountSource.ESTIMATED if self._openai is None else self._tokenizer.source

    def count_text(self, text: str) -> Count:
        """Count *text* with its provenance."""
        return Count(tokens=self.text(text), source=self.source)

    def count(self, prompt: Prompt) -> PromptCount:
        """Count a whole prompt by part."""
        if self._openai is not None:
            return self._openai.prompt(prompt, source=self.source)
        counted = self._family.prompt(prompt)
        if counted.basis is None:
            return counted
        correction, observed = self.calibration.correction(*self._keys(counted.basis))
        if not observed:
            return counted
        return scaled(counted, round(correction(counted.basis.estimate)), CountSource.CALIBRATED)

    def answer(self, answer: Answer) -> AnswerCount:
        """Count what came back, by part."""
        calls = sum(self.text(call.name) + self.text(call.arguments) for call in answer.tool_calls)
        return AnswerCount(
            response=self.text(answer.text), tool_calls=calls, reasoning=self.text(answer.reasoning), source=self.source
        )

    def observe(self, counted: PromptCount, reported_input: int) -> None:
        """Learn from the prompt tokens that the provider reported for a prompt counted here."""
        if counted.basis is not None and reported_input > 0:
            self.calibration.observe(counted.basis.estimate, reported_input, *self._keys(counted.basis))

    def _keys(self, basis: Basis) -> tuple[str, str]:
        kind = "tools" if basis.tools else "plain"
        return f"{self._key}|{kind}", f"family {self.family.name}|{kind}"

    def _remembered(self, text: str) -> int:
        if not text or self._given is None:
            return 0
        key = text_key(text)
        known = self._memo.get(key)
        if known is None:
            known = self._given(text)
            self._memo.put(key, known)
        return known

    def __getstate__(self) -> Mapping[str, Any]:
        return {
            "count": self.family.encoding if self._tokenizer is not None else self._given,
            "model": self.model,
            "family": self.family,
            "calibration": self.calibration.to_dict(),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        count = tokenizer(state["count"]) if isinstance(state["count"], str) else state["count"]
        TokenCounter.__init__(
            self, count, model=state["model"], family=state["family"], calibration=Calibration.from_dict(state["calibration"])
        )
