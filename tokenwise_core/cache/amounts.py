"""Numbers in one form: "five hundred dollars", "$500" and "500 USD" are the same amount; "5 kg" and "5 g" are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from tokenwise_core.cache.words import CALENDAR


def _counted(text: str, start: int = 0, step: int = 1) -> dict[str, int]:
    """Return the words of *text* with the numbers they stand for."""
    return {word: start + step * at for at, word in enumerate(text.split())}


_SMALL = _counted(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS = _counted("thirty forty fifty sixty seventy eighty ninety", start=30, step=10)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = {
    word: f"{value}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(value, 'th') }"
    for word, value in _counted(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth", start=1
    ).items()
}
NUMBER_WORDS = frozenset(_SMALL) | frozenset(_TENS) | frozenset(_SCALES) | frozenset(_ORDINALS) | {"dozen"}
"""Words that `amounts` reads; "one" and "second" only beside another number or unit."""

_UNIT_FORMS = """
usd $ dollar dollars bucks us$; eur € euro euros; gbp £ quid; jpy ¥ yen; inr ₹ rupee rupees rs; pound pounds lb lbs;
cent cents; percent % pct; kg kgs kilo kilos kilogram kilograms; g gram grams; mg milligram milligrams; oz ounce
ounces; ton tons tonne tonnes; km kms kilometer kilometers kilometre kilometres; m meter meters metre metres; cm
centimeter centimeters centimetre centimetres; mm millimeter millimeters millimetre millimetres; mile miles mi; foot
feet ft; inch inches; yard yards yd; l liter liters litre litres; ml milliliter milliliters millilitre millilitres;
gallon gallons gal; gb gigabyte gigabytes; mb megabyte megabytes; kb kilobyte kilobytes; tb terabyte terabytes; ghz;
mhz; hz; mbps; gbps; kwh; kw; w watt watts; v volt volts; mah; mp megapixel megapixels; px pixel pixels; second
seconds sec secs; minute minutes min mins; hour hours hr hrs h; day days; week weeks wk wks; month months; year years
yr yrs; time times x; mph; kmh; bps; fps; degree degrees °; am a.m; pm p.m; k; bn
"""
UNITS: dict[str, str] = {
    form: forms[0] for forms in (line.split() for line in _UNIT_FORMS.split(";")) for form in forms
}
"""Units as they are written to one name each."""

SIGNS = frozenset("$€£¥₹")
_MULTIPLES = {"k": 1000, "bn": 10**9}
_LONGEST = 18
"""Digits beyond which a figure is a code: nothing is computed with it."""
_FIGURE = re.compile(r"(-?\d+(?:,\d{3})*(?:\.\d+)?)([a-z%°]*)")
_BARE = re.compile(r"-?\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)")
_CURRENCIES = frozenset({"usd", "eur", "gbp", "jpy", "inr"})
_HOUR = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(am|pm)?")


def figure(chunk: str) -> str | None:
    """Return a lower-case chunk as "500", "5 kg", "20:00" or "1st"; None where it is a code and not an amount."""
    if _ORDINAL.fullmatch(chunk):
        return chunk
    clock = _CLOCK.fullmatch(chunk)
    if clock and (":" in chunk or clock[3]) and int(clock[1]) < 25 and int(clock[2]) < 60:
        return _clock(int(clock[1]), int(clock[2]), clock[3])
    found = _FIGURE.fullmatch(chunk)
    if found is None:
        return None
    value, unit = found[1].replace(",", ""), found[2]
    if not unit:
        return value
    if unit in ("am", "pm") and len(value) < 3:
        return _clock(int(value) % 24, 0, unit)
    if unit in ("k", "bn"):
        return _times(value, _MULTIPLES[unit])
    return f"{value} {UNITS[unit]}" if unit in UNITS else None


def _clock(hour: int, minute: int, half: str | None) -> str:
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"{hour:02d}:{minute:02d}"


def _times(figure: str, scale: int) -> str:
    if len(figure) > _LONGEST:
        return f"{figure}x{scale}"
    value = Decimal(figure) * scale
    return str(int(value)) if value == int(value) else str(value)


def amounts(words: Sequence[str]) -> list[str]:
    """Return *words* with each amount joined into one word that begins with a digit or a minus.

    Figures, number words, signs of currency before and units after are joined: "$", "1.5", "million" → "1500000 usd".
    """
    out: list[str] = []
    at = 0
    while at < len(words):
        value, after = _value(words, at)
        if value is None:
            out.append(words[at])
            at += 1
            continue
        unit = ""
        if out and UNITS.get(out[-1], "") in _CURRENCIES and " " not in value:
            unit = UNITS[out.pop()]
        following = UNITS.get(words[after], "") if after < len(words) else ""
        hour = _HOUR.fullmatch(value)
        if hour and following in ("am", "pm"):
            value, after = _clock(int(hour[1]), int(hour[2] or 0), following), after + 1
        elif following not in ("", "am", "pm") and value[-1].isdecimal() and ":" not in value and " " not in value:
            unit, after = unit or following, after + 1
        out.append(f"{_cents(value) if unit in _CURRENCIES else value} {unit}".strip())
        at = after
    return out


def _cents(value: str) -> str:
    """Drop the cents of a whole amount of money: "$5.00" is "$5"."""
    return value.rstrip("0").rstrip(".") if "." in value else value


def _value(words: Sequence[str], at: int) -> tuple[str | None, int]:
    """Return the amount that begins at *at* and where it ends."""
    word = words[at]
    if word[0].isdecimal() or (word[0] == "-" and len(word) > 1):
        if _ORDINAL.fullmatch(word):
            return _day(words, at, word), at + 1
        if " " in word or not word[-1].isdecimal() or ":" in word:
            return word, at + 1
        if at + 1 < len(words) and words[at + 1] in _SCALES and _BARE.fullmatch(word):
            return _times(word, _SCALES[words[at + 1]]), at + 2
        return word, at + 1
    if word in _ORDINALS:
        return (None, at + 1) if word == "second" else (_day(words, at, _ORDINALS[word]), at + 1)
    if word == "dozen":
        return "12", at + 1
    return _spelt(words, at)


def _day(words: Sequence[str], at: int, ordinal: str) -> str:
    """Return "3rd" beside a month as "3": "January 3rd" and "3 January" are one day."""
    around = {*words[max(0, at - 1) : at], *words[at + 1 : at + 3]}
    return ordinal if around.isdisjoint(_MONTHS) else ordinal[:-2]


_MONTHS = CALENDAR | {"march", "may"}


def _spelt(words: Sequence[str], at: int) -> tuple[str | None, int]:
    """Read a number in words: "two thousand and five", "a hundred"; "one two three" are three numbers."""
    start = at
    total = part = 0
    scale = max(_SCALES.values()) * 1000
    while at < len(words):
        word = words[at]
        value = _SMALL.get(word, _TENS.get(word))
        if value is not None and (part % 100 == 0 or (part % 10 == 0 and part % 100 > 19 and 0 < value < 10)):
            part += value
        elif word == "hundred" and part < 100:
            part = max(part, 1) * 100
        elif word in _SCALES and word != "hundred" and _SCALES[word] < scale and (part or at == start):
            scale = _SCALES[word]
            total, part = total + max(part, 1) * scale, 0
        elif not (
            word == "and" and at > start and part % 100 == 0 and words[at + 1 : at + 2] and words[at + 1] in _SMALL
        ):
            break
        at += 1
        if value == 0:
            break
    if at == start:
        return None, start + 1
    after = words[at] if at < len(words) else ""
    if words[start] == "one" and at == start + 1 and after not in _SMALL and UNITS.get(after, "time") in _IDLE:
        return None, start + 1  # "this one", "one day": rarely a count
    return str(total + part), at


_IDLE = ("time", "day", "second")
