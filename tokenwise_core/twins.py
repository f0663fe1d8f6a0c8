"""Copies of pydantic's models that share nothing with them: what may change is found once, and copied each time.

A history hands out all its messages with every request: pydantic's own deep copy takes 15 to 30 µs for each, this
one 1 to 4 µs (the more, the longer the history: it is memory that has to be fetched).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from copy import deepcopy
from enum import Enum
from functools import partial
from typing import Any

from pydantic import BaseModel

Twin = Callable[[], Any]
"""Returns another copy with each call."""
_Parts = tuple[tuple[Any, Twin], ...]
"""Where what can be changed stands in a container or a model, and what copies it."""

_FIXED = frozenset((str, bytes, int, float, bool, type(None)))
_MANY = 500
"""Copies that hold more containers than Python makes before it looks for garbage among them."""
_new = object.__new__
_slots: dict[str, Any] = {name: BaseModel.__dict__[name].__set__ for name in BaseModel.__slots__}
_fields_to, _names_to = _slots["__dict__"], _slots["__pydantic_fields_set__"]
_extra_to, _private_to = _slots["__pydantic_extra__"], _slots["__pydantic_private__"]


def copies(twins: Sequence[Twin]) -> list[Any]:
    """Return a copy of each.

    Where they are many, no garbage is looked for meanwhile: none can be among what is being made, and the search,
    which every few reads goes through all that the process holds, takes three times as long as the copies.
    """
    if len(twins) < _MANY or not gc.isenabled():
        return [twin() for twin in twins]
    try:
        gc.disable()
        return [twin() for twin in twins]
    finally:
        gc.enable()


def twin_of(value: Any) -> Twin:
    """Return what makes deep copies of *value*, which must not be changed any more."""
    return _twin(value) or (lambda: value)


def _twin(value: Any) -> Twin | None:
    """Return what makes copies of *value*; None where it cannot be changed."""
    kind: Any = type(value)
    if kind in _FIXED or isinstance(value, Enum):
        return None
    if kind is dict or kind is list:
        return _container(kind, value)
    if isinstance(value, BaseModel) and value.__pydantic_private__ is None:
        return _model(kind, value)
    return partial(deepcopy, value)


def _container(kind: type, value: Any) -> Twin:
    if not value:
        return kind
    parts = _parts(value.items() if kind is dict else enumerate(value))
    if not parts:
        copied: Twin = value.copy
        return copied

    return partial(_filled, value.copy, parts)


def _filled(copy: Twin, parts: _Parts) -> Any:
    own = copy()
    for at, part in parts:
        own[at] = part()
    return own


def _model(kind: Any, value: BaseModel) -> Twin:
    """Return what does as `BaseModel.__copy__` does, and copies what can be changed."""
    fields, names, extra = value.__dict__, value.__pydantic_fields_set__, value.__pydantic_extra__
    block = next((name for name, one in fields.items() if _is_block(one)), None)
    if block is not None and extra is None and _is_full(value):
        one = fields[block][0]
        rest = _parts((name, one) for name, one in fields.items() if name != block)
        inner = block, type(one), one.__dict__.copy, one.__pydantic_fields_set__
        return partial(_around, kind, fields.copy, names, rest, inner)
    return partial(_made, kind, fields.copy, (names, _is_full(value)), _parts(fields.items()), _twin(extra))


def _made(kind: Any, copy: Twin, named: tuple[set[str], bool], parts: _Parts, extra: Twin | None) -> Any:
    fields, (names, is_full) = copy(), named
    for name, part in parts:
        fields[name] = part()
    own = _new(kind)
    _fields_to(own, fields)
    _names_to(own, names if is_full else names.copy())
    _extra_to(own, None if extra is None else extra())
    _private_to(own, None)
    return own


def _around(kind: Any, copy: Twin, names: set[str], parts: _Parts, inner: tuple[str, Any, Twin, set[str]]) -> Any:
    """Do the same, in two thirds of the time, for a message of one text: nearly all of LlamaIndex's are."""
    block, inner_kind, inner_copy, inner_names = inner
    within, own = _new(inner_kind), _new(kind)
    _fields_to(within, inner_copy())
    _names_to(within, inner_names)
    _extra_to(within, None)
    _private_to(within, None)
    fields = copy()
    fields[block] = [within]
    for name, part in parts:
        fields[name] = part()
    _fields_to(own, fields)
    _names_to(own, names)
    _extra_to(own, None)
    _private_to(own, None)
    return own


def _is_block(value: Any) -> bool:
    """Say whether *value* is a list of one model whose own values cannot be changed."""
    if type(value) is not list or len(value) != 1 or not isinstance(value[0], BaseModel):
        return False
    one = value[0]
    if one.__pydantic_private__ is not None or one.__pydantic_extra__ is not None:
        return False
    return _is_full(one) and not _parts(one.__dict__.items())


def _is_full(value: BaseModel) -> bool:
    """Say whether all fields of the class were set: then one set of their names serves all copies.

    A field that the class does not know is added to it, too, by who sets one on a copy; that changes neither what
    others say nor how they are written. A set of its own would be a third of what a LangChain message's copy takes.
    """
    return value.__pydantic_fields_set__ >= type(value).model_fields.keys()


def _parts(items: Any) -> _Parts:
    """Return where the changeable among *items* stand, and what copies them."""
    return tuple((at, twin) for at, one in items if (twin := _twin(one)) is not None)
