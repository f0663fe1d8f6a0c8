"""A value made quickly is the same as one made by its class."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace

import pytest

from tokenwise_core.cache import CachedAnswer, Hit
from tokenwise_core.quick import quick
from tokenwise_core.usage.events import Usage

VALUES = [
    (Usage, {"input_tokens": 5, "output_text": 2}),
    (Usage, {}),
    (CachedAnswer, {"text": "yes", "payload": {"a": [1]}, "tags": ("t",)}),
    (Hit, {"id": "h", "kind": "exact", "answer": CachedAnswer(text="yes")}),
]


@pytest.mark.parametrize(("kind", "facts"), VALUES)
def test_it_is_the_same_value(kind: type, facts: dict[str, object]) -> None:
    made, known = quick(kind)(**facts), kind(**facts)
    assert made == known
    assert type(made) is kind
    assert repr(made) == repr(known)
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == replace(made) == known


@pytest.mark.parametrize(("kind", "facts"), VALUES)
def test_it_is_frozen_and_shares_no_default(kind: type, facts: dict[str, object]) -> None:
    made, other = quick(kind)(**facts), quick(kind)(**facts)
    for field in fields(kind):
        with pytest.raises(AttributeError):
            setattr(made, field.name, None)
        if field.name not in facts and isinstance(value := getattr(made, field.name), dict):
            assert value is not getattr(other, field.name)


def test_what_is_missing_or_unknown_is_refused() -> None:
    with pytest.raises(TypeError, match="text"):
        quick(CachedAnswer)()
    with pytest.raises(TypeError, match="colour"):
        quick(CachedAnswer)(text="x", colour="red")
