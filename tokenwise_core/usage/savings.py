"""The one definition of "saved": counterfactual − actual − our own overhead, in tokens and in money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Tokens and money; *nano* is integer nano-dollars, None where the model has no price."""

    input_tokens: int = 0
    output_tokens: int = 0
    nano: int | None = None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            nano=None if self.nano is None or other.nano is None else self.nano + other.nano,
        )

    def __sub__(self, other: Spend) -> Spend:
        return Spend(
            input_tokens=self.input_tokens - other.input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            nano=None if self.nano is None or other.nano is None else self.nano - other.nano,
        )


NOTHING = Spend(nano=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one lever saved on one call, against what would have been spent without it.

    *overhead* is what the lever itself spent (its own model calls). A saving may be negative. *quality* is the
    measured change in the answers' score (0 = no change), None = "not measured".
    """

    lever: str
    counterfactual: Spend
    actual: Spend
    overhead: Spend = NOTHING
    quality: float | None = None
    reason: str = ""

    @property
    def saved(self) -> Spend:
        return self.counterfactual - self.actual - self.overhead
