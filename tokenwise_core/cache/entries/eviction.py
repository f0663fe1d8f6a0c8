"""Which entries go first when a namespace is over its quota: GreedyDual-Size with hits that fade.

An entry's priority is `inflation + saved cost × heat ÷ bytes`, written when it is stored and when it is hit; the lowest
goes first, and its priority becomes the inflation under which later entries are stored: what was not used for long is
overtaken without any row being touched (Cao & Irani, "Cost-aware WWW proxy caching algorithms", USITS 1997).
"""

from __future__ import annotations

HALF_LIFE_S = 7 * 86_400.0
"""After a week without use a hit counts half."""
UNPRICED_NANO = 1_000_000
"""What a hit is taken to save where the model has no price (0.001 USD): neither kept nor dropped for want of one."""


def first_heat(hits: int) -> float:
    """Return the heat of an entry as it is stored: its making counts as one use, imported hits as that many more."""
    return 1.0 + hits


def heated(heat: float, *, seconds: float, hits: int) -> float:
    """Return *heat* faded over *seconds*, plus *hits*."""
    faded = 0.5 ** (max(seconds, 0.0) / HALF_LIFE_S)
    return heat * float(faded) + hits


def priority(*, inflation: float, cost_nano: int | None, heat: float, size: int) -> float:
    """Return the priority of an entry of *size* bytes; the lowest goes first."""
    cost = UNPRICED_NANO if cost_nano is None else cost_nano
    return inflation + cost * heat / max(size, 1)
