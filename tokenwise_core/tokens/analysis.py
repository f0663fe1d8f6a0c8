"""Where a text's tokens go, and what a prompt adds up to over a day, a month, a year."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenwise_core.tokens.models import family_of
from tokenwise_core.tokens.tokenizers import tokenizer
from tokenwise_core.usage.components import CountSource

CHARS_PER_TOKEN = 4.0
"""English prose under OpenAI's tokenisers: the seed's yardstick (S1-03), efficiency 1.0."""
SHORT = 2
"""A token of at most so many characters is counted as inefficient (S1-03)."""
DAYS_PER_MONTH, DAYS_PER_YEAR = 30, 365


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizationAnalysis:
    """How densely a text is tokenised; *tokens* are the decoded pieces, a split character as U+FFFD."""

    model: str
    encoding: str
    source: CountSource
    text_length: int
    token_count: int
    tokens: tuple[str, ...]

    @property
    def chars_per_token(self) -> float:
        return self.text_length / self.token_count if self.token_count else 0.0

    @property
    def inefficient_tokens(self) -> tuple[str, ...]:
        """The tokens that stand for two characters or less."""
        return tuple(token for token in self.tokens if len(token) <= SHORT)

    @property
    def efficiency_score(self) -> float:
        """Characters per token over the 4.0 of English prose: below 1.0 the text is dear."""
        return self.chars_per_token / CHARS_PER_TOKEN


def analyze_tokenization(text: str, model: str = "gpt-4o") -> TokenizationAnalysis:
    """Show how *model* cuts *text*; without a tokeniser for it the pieces are an estimate and say so."""
    family = family_of(model)
    cutter = tokenizer(family.encoding)
    ids = cutter.encode(text)
    encoding = cutter.encoding()
    if ids is None or encoding is None:
        pieces = tuple(re.findall(r"\s*\w{1,8}|\s*[^\w\s]{1,2}|\s+", text))
        source = CountSource.ESTIMATED
    else:
        pieces = tuple(encoding.decode([token], errors="replace") for token in ids)
        source = CountSource.EXACT if family.template != "estimated" else CountSource.ESTIMATED
    return TokenizationAnalysis(
        model=model,
        encoding=cutter.name,
        source=source,
        text_length=len(text),
        token_count=len(pieces),
        tokens=pieces,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Tokens of one request, repeated: a month has 30 days, a year 365."""

    per_request: int
    per_day: int
    per_month: int
    per_year: int


def project(tokens: int, *, requests_per_day: int) -> Projection:
    """Return what *tokens* per request add up to.

    >>> project(5_000, requests_per_day=1_000_000).per_month
    150000000000
    """
    day = tokens * requests_per_day
    return Projection(per_request=tokens, per_day=day, per_month=day * DAYS_PER_MONTH, per_year=day * DAYS_PER_YEAR)
