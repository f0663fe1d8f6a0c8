"""Makes frozen values in half the time: a value with many fields that is read from a store, or made at each call."""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields, make_dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")


def quick(kind: type[T]) -> type[T]:
    """Return what makes values of *kind*, a frozen dataclass with slots and keywords only, and without checks of its
    own, as `kind(...)` does.

    A frozen value is filled through `object.__setattr__`, field by field (2.7 µs for the 22 of a `Usage`). Here a draft
    that is not frozen is filled (1.0 µs) and then becomes one: a class may be assigned where both have the same slots
    (Python's data model, "__slots__").
    """
    draft = make_dataclass(
        kind.__name__, [(f.name, f.type, _alike(f)) for f in fields(cast("Any", kind))],
        eq=False, repr=False, slots=True, kw_only=True,
    )  # fmt: skip

    def made(**facts: Any) -> Any:
        value = draft(**facts)
        value.__class__ = kind
        return value

    return cast("type[T]", made)


def _alike(known: Field[Any]) -> Any:
    if known.default_factory is not MISSING:
        return field(default_factory=known.default_factory)
    return field() if known.default is MISSING else field(default=known.default)
