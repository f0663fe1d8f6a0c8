"""What each component of a call cost: the price of each bucket, divided by the tokens that stand in it."""

from __future__ import annotations

from collections.abc import Mapping

from tokenwise_core.usage.components import INPUTS, OUTPUTS, Breakdown, Component
from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Cost

_FRESH, _CACHED, _ANSWER, _REASONING = range(4)
_SHARE_OF = {
    **dict.fromkeys(INPUT_BUCKETS, _FRESH), **dict.fromkeys(OUTPUT_BUCKETS, _ANSWER),
    "cache_read": _CACHED, "reasoning": _REASONING,
}  # fmt: skip
_SHARE_BY_COMPONENT = {
    **dict.fromkeys(INPUTS, _FRESH), **dict.fromkeys(OUTPUTS, _ANSWER), Component.REASONING: _REASONING,
}  # fmt: skip


def cost_by_component(cost: Cost, breakdown: Breakdown) -> dict[Component, int]:
    """Divide *cost* over the components, in nano-dollars that sum to it exactly.

    Cached tokens carry the price of cache reads, all other input the price of fresh input and of cache writes,
    reasoning its own. What belongs to no component (fees, side calls) is `overhead`.
    """
    shares = [0, 0, 0, 0]
    for bucket, nano in cost.by_bucket.items():
        share_of = _SHARE_OF.get(bucket)
        if share_of is not None:
            shares[share_of] += nano
    fresh: dict[Component, int] = {}
    parts: tuple[dict[Component, int], ...] = (fresh, dict(breakdown.cached), {}, {})
    for component, n in breakdown.tokens.items():
        parts[_SHARE_BY_COMPONENT[component]][component] = n
    for component, n in breakdown.cached.items():
        if component in fresh:
            fresh[component] -= n
    nanos: dict[Component, int] = {}
    left = cost.nano
    for nano, share in zip(shares, parts, strict=True):
        if nano and share:
            left -= _divide(nano, share, nanos)
    if left:
        nanos[Component.OVERHEAD] = nanos.get(Component.OVERHEAD, 0) + left
    return nanos


def _divide(nano: int, parts: Mapping[Component, int], into: dict[Component, int]) -> int:
    """Add to each part its share of *nano* by running totals, so that the shares sum exactly; return what was given."""
    if len(parts) == 1:
        ((component, total),) = parts.items()
        if total <= 0:
            return 0
        into[component] = into.get(component, 0) + nano
        return nano
    total = sum([n for n in parts.values() if n > 0])
    each, rest = divmod(nano, total) if total else (0, 0)
    if not rest:  # nearly always: prices are whole nano-dollars a token, and products are quicker than quotients
        for component, n in parts.items():
            if n > 0:
                into[component] = into.get(component, 0) + n * each
        return each * total
    seen = given = 0
    for component, n in parts.items():
        if n > 0:
            seen += n
            upto = nano * seen // total
            into[component] = into.get(component, 0) + upto - given
            given = upto
    return given
