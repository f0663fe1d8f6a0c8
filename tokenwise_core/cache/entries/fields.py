"""The fields that stored JSON may hold, and what each must look like: the allow-list that everything read goes through.

What is not named here is dropped (a newer release may write more); what is named and has another type is damage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from tokenwise_core.cache.entry import CachedAnswer, HitRecord
from tokenwise_core.quick import quick
from tokenwise_core.scoping import Scope
from tokenwise_core.storage.codec import DamagedError
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.events import Usage

Check = Callable[[Any], bool]
_answer, _usage = quick(CachedAnswer), quick(Usage)


def is_text(value: Any) -> bool:
    """Say whether *value* is a string."""
    return type(value) is str


def is_count(value: Any) -> bool:
    """Say whether *value* is an integer; True and False are none."""
    return type(value) is int


def is_flag(value: Any) -> bool:
    """Say whether *value* is True or False."""
    return type(value) is bool


def is_number(value: Any) -> bool:
    """Say whether *value* is a finite number."""
    return type(value) is int or (type(value) is float and isfinite(value))


def is_object(value: Any) -> bool:
    """Say whether *value* is a JSON object."""
    return type(value) is dict


def is_texts(value: Any) -> bool:
    """Say whether *value* is a list of strings."""
    return type(value) is list and all(map(is_text, value))


def is_numbers(value: Any) -> bool:
    """Say whether *value* is a list of finite numbers."""
    return type(value) is list and all(map(is_number, value))


def is_text_by_text(value: Any) -> bool:
    """Say whether *value* is an object of strings."""
    return type(value) is dict and all(map(is_text, value.values()))


def is_count_by_text(value: Any) -> bool:
    """Say whether *value* is an object of integers."""
    return type(value) is dict and all(map(is_count, value.values()))


def is_buckets(value: Any) -> bool:
    """Say whether *value* is an object of objects of integers (`Usage.side_buckets`)."""
    return type(value) is dict and all(map(is_count_by_text, value.values()))


def is_amount(value: Any) -> bool:
    """Say whether *value* is a decimal number written as text."""
    try:
        return is_text(value) and Decimal(value).is_finite()
    except InvalidOperation:
        return False


def is_count_source(value: Any) -> bool:
    """Say whether *value* names a `CountSource`."""
    return value in {source.value for source in CountSource}


USAGE: Mapping[str, Check] = {
    **{field.name: is_count for field in fields(Usage)},
    "side_buckets": is_buckets, "service_tier": is_text, "reported_cost_usd": is_amount, "source": is_count_source,
    "unknown": is_object,
}  # fmt: skip
SCOPE: Mapping[str, Check] = {**{field.name: is_text for field in fields(Scope)}, "labels": is_text_by_text}
ANSWER: Mapping[str, Check] = {
    "text": is_text, "payload": is_object, "model": is_text, "provider": is_text, "usage": is_object,
    "finish_reason": is_text, "tool_calls": is_flag, "refusal": is_flag, "complete": is_flag,
}  # fmt: skip
BODY: Mapping[str, Check] = {"answer": is_object, "tags": is_texts, "category": is_text, "owner": is_object}
QUESTION: Mapping[str, Check] = {"query": is_text, "reading": is_object, "signature": is_object}
HIT: Mapping[str, Check] = {
    "id": is_text, "ts": is_number, "seq": is_count, "kind": is_text, "namespace": is_text, "query": is_text,
    "similarity": is_number, "score": is_number, "bound": is_number, "agreement": is_number, "features": is_numbers,
    "age_s": is_number, "saved_tokens": is_count, "saved_nano": is_count, "owner": is_object,
    "embedder": is_text, "key": is_text,
}  # fmt: skip


def checked(data: Any, allowed: Mapping[str, Check], *, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of *data* that are *allowed*; raise `DamagedError` where one is of a wrong type or missing."""
    if type(data) is not dict:
        raise DamagedError("no object")
    found = {}
    for name, value in data.items():
        check = allowed.get(name)
        if check is not None:
            if not check(value):
                raise DamagedError(name)
            found[name] = value
    for name in needed:
        if name not in found:
            raise DamagedError(f"{name} is missing")
    return found


def said(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults: what is worth writing."""
    found = {}
    for name, default in _DEFAULTS[type(value)]:
        content = getattr(value, name)
        if content != default:
            found[name] = content
    return found


_NOTHING = object()
_DEFAULTS: Mapping[type, tuple[tuple[str, Any], ...]] = {
    kind: tuple(
        (
            field.name,
            field.default_factory()
            if callable(field.default_factory)
            else (field.default if field.name not in required else _NOTHING),
        )
        for field in fields(kind)
    )
    for kind, required in (
        (Usage, ()),
        (Scope, ()),
        (CachedAnswer, ("text",)),
        (HitRecord, ("id", "ts", "seq", "kind", "namespace")),
    )
}


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Return *usage* as JSON that `usage_from_json` reads."""
    found = said(usage)
    if "reported_cost_usd" in found:
        found["reported_cost_usd"] = str(found["reported_cost_usd"])
    if "source" in found:
        found["source"] = usage.source.value
    if "unknown" in found:
        found["unknown"] = {
            k: v if is_number(v) or is_text(v) or v is None else str(v) for k, v in usage.unknown.items()
        }
    return found


def usage_from_json(data: Any) -> Usage:
    """Read what `usage_to_json` wrote."""
    found = checked(data, USAGE)
    if "reported_cost_usd" in found:
        found["reported_cost_usd"] = Decimal(found["reported_cost_usd"])
    if "source" in found:
        found["source"] = CountSource(found["source"])
    return _usage(**found)


def scope_from_json(data: Any) -> Scope:
    """Read what `said` wrote of a scope."""
    return Scope(**checked(data, SCOPE))


def answer_to_json(answer: CachedAnswer) -> dict[str, Any]:
    """Return *answer* as JSON that `answer_from_json` reads; its tags are kept with the entry."""
    found = said(answer)
    found.pop("tags", None)
    if answer.usage is not None:
        found["usage"] = usage_to_json(answer.usage)
    return found


def answer_from_json(data: Any) -> CachedAnswer:
    """Read what `answer_to_json` wrote."""
    found = checked(data, ANSWER, needed=("text",))
    if "usage" in found:
        found["usage"] = usage_from_json(found["usage"])
    return _answer(**found)


def hit_to_json(hit: HitRecord) -> dict[str, Any]:
    """Return *hit* as JSON that `hit_from_json` reads."""
    return {**said(hit), "features": list(hit.features), "owner": said(hit.owner)}


def hit_from_json(data: Any) -> HitRecord:
    """Read what `hit_to_json` wrote."""
    found = checked(data, HIT, needed=("id", "ts", "seq", "kind", "namespace"))
    found["features"] = tuple(float(value) for value in found.get("features", ()))
    found["owner"] = scope_from_json(found.get("owner", {}))
    return HitRecord(**found)
