"""Read counts out of whatever a provider's client hands over: dicts, pydantic models, dataclasses, protobufs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

_PLAIN = (str, bytes, bytearray, int, float, complex, Decimal, list, tuple, set, frozenset, type)
_MAX_DIGITS = 18
_MAX_LEAVES = 32
_NOT_COUNTS = (
    "_time", "_duration", "_cost", "cost", "created", "created_at", "index", "seed", "is_byok", "cost_details",
    "pydantic_ai_gateway", "latency_ms", "cost_in_usd_ticks",
)  # fmt: skip


def as_mapping(value: object, names: Iterable[str] = ()) -> Mapping[str, Any] | None:
    """Return *value* as a mapping of its fields, or None when it has none.

    A pydantic model is read from its `__dict__` and extras, which costs a tenth of `model_dump` and cannot warn.
    Objects that keep their state elsewhere (protobuf wrappers, properties) are asked for *names*.
    """
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, _PLAIN):
        return None
    if is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclass_fields(value)}
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        public = {name: item for name, item in state.items() if not name.startswith("_")}
        extra = getattr(value, "__pydantic_extra__", None)
        if isinstance(extra, dict):
            public.update(extra)
        if public and not names:
            return public
        if public.keys() & set(names):
            return public
    found = {name: getattr(value, name, None) for name in names}
    return {name: item for name, item in found.items() if item is not None} or None


def as_count(value: object) -> int | None:
    """Return *value* as a count of tokens; None for what cannot be one (negative, not finite, text, a flag)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, float):
        return round(value) if isfinite(value) and value >= 0 else None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return None


def as_money(value: object) -> Decimal | None:
    """Return *value* as an amount of dollars, exactly as it was written; None for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


class Fields:
    """A usage object under reading; remembers what was read, so that the rest can be kept as `Usage.unknown`."""

    __slots__ = ("_read", "data")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self._read: set[str] = set()

    def has(self, *names: str) -> bool:
        """Tell whether any of *names* is there with a value."""
        return any(self.data.get(name) is not None for name in names)

    def count(self, *names: str) -> int | None:
        """Return the largest count among *names*: several names of one figure, of which some may be left at zero."""
        best: int | None = None
        for name in names:
            value = self.data.get(name)
            if value is None:
                continue
            self._read.add(name)
            n = as_count(value)
            if n is not None and (best is None or n > best):
                best = n
        return best

    def without(self, name: str) -> Fields:
        """Return these fields less *name*."""
        rest = Fields({key: value for key, value in self.data.items() if key != name})
        rest._read = self._read
        return rest

    def money(self, name: str) -> Decimal | None:
        return as_money(self.data.get(name))

    def text(self, *names: str) -> str | None:
        """Return the first of *names* that is text (or an enum of text)."""
        for name in names:
            value = getattr(self.data.get(name), "value", self.data.get(name))
            if isinstance(value, str) and value:
                return value
        return None

    def inner(self, *names: str) -> Fields:
        """Return the first of *names* that has fields of its own; an empty one if none has."""
        for name in names:
            value = self.data.get(name)
            mapped = None if value is None else as_mapping(value)
            if mapped:
                self._read.add(name)
                return Fields(mapped)
        return NONE

    def items(self, *names: str) -> list[Fields]:
        """Return the first of *names* that is a list, as fields."""
        for name in names:
            value = self.data.get(name)
            if isinstance(value, list | tuple):
                self._read.add(name)
                return [Fields(mapped) for mapped in map(as_mapping, value) if mapped is not None]
        return []

    def unread(self, *inner: tuple[str, Fields]) -> dict[str, int]:
        """Return the counts other than zero that nobody asked for, those of *inner* objects under a dotted name."""
        left = dict(self.leaves(""))
        for name, fields in inner:
            left.update(fields.leaves(f"{name}."))
        return left

    def leaves(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the own counts other than zero that were not read, named with *prefix*."""
        for name, value in list(self.data.items())[:_MAX_LEAVES]:
            if isinstance(name, str) and name not in self._read and not name.endswith(_NOT_COUNTS):
                n = as_count(value) if not isinstance(value, str) else None
                if n:
                    yield prefix + name, n


NONE = Fields({})
