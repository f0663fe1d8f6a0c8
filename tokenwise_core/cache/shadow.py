"""What a cache in the shadow would have served, and how often wrongly: read from the store's counters and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tokenwise_core.cache.acceptance import CONFIDENCE_Z
from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entry import Label
from tokenwise_core.cache.stats import group
from tokenwise_core.errors import BadInput

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Scores (the estimated probability of being right) at which the labels are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Answers compared with the model's own: *right* and *wrong* ones."""

    right: int = 0
    wrong: int = 0

    @property
    def total(self) -> int:
        return self.right + self.wrong

    @property
    def rate(self) -> float | None:
        """Wrong ÷ judged; None before the first."""
        return self.wrong / self.total if self.total else None

    @property
    def bound(self) -> float:
        """The upper confidence bound of the rate, one-sided 95 %; 1 where nothing was judged."""
        return upper_bound(self.wrong, self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What would have been served, over all processes and since the store was begun.

    *would_be* counts would-be hits by kind among *lookups*; *judged* are those whose answer could be compared with the
    model's, *unknown* those where neither agreement nor difference could be told. *by_score* holds, for each threshold,
    the labels of neighbours (would-be hits and others near) whose score was at least that. *served* are hits of caches
    that were not in the shadow: where there are any, the rate is a lower bound.
    """

    lookups: int = 0
    served: int = 0
    would_be: Mapping[str, int] = field(default_factory=dict)
    judged: Judged = field(default_factory=Judged)
    unknown: int = 0
    by_score: Mapping[float, Judged] = field(default_factory=dict)
    max_error: float = 0.05

    @property
    def would_be_hits(self) -> int:
        return sum(self.would_be.values())

    @property
    def would_be_rate(self) -> float | None:
        """Would-be hits ÷ lookups; None before the first."""
        return self.would_be_hits / self.lookups if self.lookups else None

    @property
    def is_within(self) -> bool:
        """Say whether the bound of the false-hit rate is within *max_error*: the cache may leave the shadow."""
        return self.judged.bound <= self.max_error

    @property
    def labels_needed(self) -> int | None:
        """How many more judged answers it takes until the bound is within *max_error*, if the rate stays as it is.

        None: at this rate no number is enough.
        """
        needed = labels_for(self.judged.rate or 0.0, self.max_error)
        return None if needed is None else max(needed - self.judged.total, 0)

    def lines(self) -> list[str]:
        """Return it in words, a line a fact."""
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.would_be.items())
        rate = "–" if self.would_be_rate is None else f"{self.would_be_rate:.1%}"
        lines = [
            f"lookups: {self.lookups:,}",
            f"would have been served: {self.would_be_hits:,} ({kinds or 'none'}), {rate} of the lookups",
            f"judged by the model's own answer: {_verdicts(self)}",
            f"false-hit rate: {_rate(self.judged)}",
            self._verdict(),
        ]
        if self.served:
            lines.insert(1, f"served by caches outside the shadow: {self.served:,}; the rate below is a lower bound")
        return lines

    def _verdict(self) -> str:
        if self.is_within:
            return f"max_error={self.max_error:g} holds: the cache can be switched on"
        needed = self.labels_needed
        if needed is None:
            return f"max_error={self.max_error:g} does not hold: the rate itself is above it"
        answers = "answer" if needed == 1 else "answers"
        return f"max_error={self.max_error:g} is not shown yet: {needed:,} more judged {answers} at this rate would do"


def shadow_report(entries: Entries, *, max_error: float = 0.05) -> ShadowReport:
    """Read the report from *entries*; *max_error* is the error bound that it is held against."""
    if not 0 < max_error < 1:
        raise BadInput(f"max_error {max_error}: give a fraction between 0 and 1")
    counts = entries.counts()
    hits, verdicts = group(counts, "hit"), group(counts, "shadow")
    return ShadowReport(
        lookups=sum(hits.values()) + sum(group(counts, "miss").values()),
        served=sum(n for kind, n in hits.items() if kind != "joined"),
        would_be=group(counts, "would"),
        judged=Judged(right=verdicts.get("right", 0), wrong=verdicts.get("wrong", 0)),
        unknown=verdicts.get("unknown", 0),
        by_score=_by_score(entries.labels()[1]),
        max_error=max_error,
    )


def upper_bound(wrong: int, n: int) -> float:
    """Return the upper end of Wilson's score interval for a rate of *wrong* in *n*, one-sided 95 %; 1 for none.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212. It is
    a little bolder than the exact bound at the edge: 52 answers without an error show a rate of at most .05, 133 one of
    .02, where Clopper and Pearson ask for 59 and 149.
    """
    if n <= 0:
        return 1.0
    z2, rate = CONFIDENCE_Z**2, wrong / n
    spread = CONFIDENCE_Z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return min((rate + z2 / (2 * n) + spread) / (1 + z2 / n), 1.0)


def labels_for(rate: float, max_error: float) -> int | None:
    """Return how many labels at *rate* bring the upper bound down to *max_error*; None where no number does.

    Wilson's interval holds the rates that a score test does not reject, so the bound is within e exactly when
    (e − rate)² ≥ z² e (1 − e) ÷ n.
    """
    if rate >= max_error:
        return None
    return math.ceil(CONFIDENCE_Z**2 * max_error * (1 - max_error) / (max_error - rate) ** 2)


def _by_score(labels: Sequence[Label]) -> dict[float, Judged]:
    """Count the labels at or above each threshold; thresholds that no label reaches are left out."""
    scored = [(label.score, label.same) for label in labels if label.score is not None]
    found = {}
    for threshold in THRESHOLDS:
        above = [same for score, same in scored if score >= threshold]
        if above:
            found[threshold] = Judged(right=sum(above), wrong=len(above) - sum(above))
    return found


def _verdicts(report: ShadowReport) -> str:
    judged = report.judged
    return f"{judged.right:,} right, {judged.wrong:,} wrong, {report.unknown:,} could not be told"


def _rate(judged: Judged) -> str:
    if judged.rate is None:
        return "nothing was judged yet"
    return f"{judged.rate:.2%}, at most {judged.bound:.2%} with 95 % confidence (Wilson)"
