"""How counts, money, times and shares are written wherever people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape

from tokenwise_core.usage.events import NANO

UNKNOWN = "–"
NAMELESS = "(none)"
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


def visible(text: str) -> str:
    """Replace what a terminal or a page must not be given: control characters, halves of surrogate pairs."""
    return text.translate(_CONTROLS)


def markup(text: str) -> str:
    """Escape *text* for HTML and SVG."""
    return escape(visible(text))


def count(n: int | None, *, estimated: bool = False) -> str:
    """Write a number of tokens or calls; `≈` marks an estimate."""
    return UNKNOWN if n is None else f"{'≈' if estimated and n else ''}{n:,}"


def share(part: float | None, whole: float | None = 1) -> str:
    """Write *part* ÷ *whole* in percent."""
    return UNKNOWN if part is None or not whole else f"{100 * part / whole:.1f} %"


def dollars(usd: Decimal | None) -> str:
    """Write money: cents from one dollar up, three significant digits below.

    >>> dollars(Decimal("0.0012345")), dollars(Decimal("1234.5")), dollars(None)
    ('$0.00123', '$1,234.50', '–')
    """
    if usd is None:
        return UNKNOWN
    if usd == 0:
        return "$0"
    sign, size = ("-" if usd < 0 else ""), abs(usd)
    if size >= 1:
        return f"{sign}${size.quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"
    rounded = size.quantize(Decimal(1).scaleb(size.adjusted() - 2), ROUND_HALF_EVEN)
    return f"{sign}${rounded:f}"


def nano_dollars(nano: int | None) -> str:
    """Write integer nano-dollars as dollars."""
    return dollars(None if nano is None else Decimal(nano) / NANO)


def milliseconds(ms: float | None) -> str:
    """Write a duration, in seconds from one second up."""
    if ms is None:
        return UNKNOWN
    return f"{ms / 1000:,.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def rate(value: float | None) -> str:
    """Write a rate with two significant digits below ten."""
    return UNKNOWN if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def compact(n: float) -> str:
    """Write a number for the axis of a plot.

    >>> compact(1_250_000), compact(12_000), compact(950)
    ('1.25M', '12k', '950')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(n) >= size:
            return f"{n / size:.3g}{letter}"
    return f"{n:.3g}"


def moment(ts: float) -> str:
    """Write a time, to the minute, in UTC."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M")


def iso(ts: float | None) -> str | None:
    """Write a time for machines."""
    return None if ts is None else datetime.fromtimestamp(ts, UTC).isoformat(timespec="seconds")


def key_text(dimension: str, value: str | int | None) -> str:
    """Write the name of a group: a date for a period, `(none)` for calls without such a name."""
    if value is None:
        return NAMELESS
    if isinstance(value, int):
        at = datetime.fromtimestamp(value, UTC)
        return at.date().isoformat() if dimension == "day" else at.strftime("%Y-%m-%d %H:%M")
    return value
