"""What each component of a call cost: the price of each bucket, divided by the tokens that stand in it."""

from __future__ import annotations

from tokenwise_core.usage.components import OUTPUTS, Breakdown, Component
from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Cost

_FRESH, _CACHED, _ANSWER, _REASONING = range(4)
_SHARE_OF = {
    **dict.fromkeys(INPUT_BUCKETS, _FRESH), **dict.fromkeys(OUTPUT_BUCKETS, _ANSWER),
    "cache_read": _CACHED, "reasoning": _REASONING,
}  # fmt: skip
_Part = tuple[Component, int]


def cost_by_component(cost: Cost, breakdown: Breakdown) -> dict[Component, int]:
    """Divide *cost* over the components, in nano-dollars that sum to it exactly.

    Cached tokens carry the price of cache reads, all other input the price of fresh input and of cache writes,
    reasoning its own. What belongs to no component (fees, side calls) is `overhead`.
    """
    shares = [0, 0, 0, 0]
    for bucket, nano in cost.by_bucket.items():
        if bucket in _SHARE_OF:
            shares[_SHARE_OF[bucket]] += nano
    cached = breakdown.cached
    fresh: list[_Part] = []
    answer: list[_Part] = []
    reasoning: list[_Part] = []
    for component, n in breakdown.tokens.items():
        if component not in OUTPUTS:
            fresh.append((component, n - cached.get(component, 0)))
        elif component is Component.REASONING:
            reasoning.append((component, n))
        else:
            answer.append((component, n))
    nanos: dict[Component, int] = {}
    left = cost.nano - _divide(shares[_FRESH], fresh, nanos) - _divide(shares[_ANSWER], answer, nanos)
    left -= _divide(shares[_CACHED], list(cached.items()), nanos) + _divide(shares[_REASONING], reasoning, nanos)
    if left:
        nanos[Component.OVERHEAD] = nanos.get(Component.OVERHEAD, 0) + left
    return nanos


def _divide(nano: int, parts: list[_Part], into: dict[Component, int]) -> int:
    """Add to each part its share of *nano* by running totals, so that the shares sum exactly; return what was given."""
    total = 0
    for _, n in parts:
        if n > 0:
            total += n
    if not nano or not total:
        return 0
    seen = given = 0
    for component, n in parts:
        if n > 0:
            seen += n
            upto = nano * seen // total
            into[component] = into.get(component, 0) + upto - given
            given = upto
    return given
