"""Copies of models share nothing that may be changed with what they were made of, nor with each other."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr

from tokenwise_core.twins import Twin, copies, twin_of


class Role(Enum):
    USER = "user"


class Block(BaseModel):
    text: str
    size: int | None = None


class Said(BaseModel):
    model_config = ConfigDict(extra="allow")
    blocks: list[Any]
    role: Role = Role.USER
    extra: dict[str, Any] = {}


class Plain(BaseModel):
    blocks: list[Any]
    extra: dict[str, Any] = {}


class Secret(BaseModel):
    text: str
    _notes: list[str] = PrivateAttr(default_factory=lambda: ["mine"])


def changeable(value: Any) -> Iterator[int]:
    """Yield the identity of all in *value* that may be changed in place."""
    if isinstance(value, BaseModel):
        yield id(value)
        yield from changeable(value.__dict__)
        yield from changeable(value.__pydantic_extra__)
        yield from changeable(value.__pydantic_private__)
    elif isinstance(value, dict):
        yield id(value)
        yield from (found for one in value.values() for found in changeable(one))
    elif isinstance(value, list | tuple | set | bytearray):
        if not isinstance(value, tuple):
            yield id(value)
        yield from (found for one in value for found in changeable(one) if not isinstance(value, bytearray))


atoms = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.just(Role.USER)
values = st.recursive(
    atoms | st.just(bytearray(b"x")) | st.builds(set),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner)
        | st.builds(Block, text=st.text(max_size=3))
        | st.builds(Block, text=st.text(max_size=3), size=st.integers())
        | st.builds(lambda one: Plain(blocks=[one], extra={"k": one}), inner)
        | st.builds(lambda one: Plain(blocks=[one]), inner)
        | st.builds(lambda one: Said(blocks=[one], more=one), inner)  # type: ignore[call-arg]  # extra fields
        | st.builds(lambda: Secret(text="x"))
    ),
    max_leaves=8,
)


@given(value=values)
def test_a_copy_says_the_same_and_shares_nothing_that_may_be_changed(value: Any) -> None:
    before = copy.deepcopy(value)
    make = twin_of(value)
    one, other = make(), make()
    assert one == other == value == before
    assert type(one) is type(value)
    found = [set(changeable(each)) for each in (value, one, other)]
    assert len(set().union(*found)) == sum(map(len, found))


@pytest.mark.parametrize(
    "model", [Block(text="x"), Block(text="x", size=1), Said(blocks=[Block(text="x")]), Plain(blocks=[], extra={})]
)
def test_a_copy_behaves_as_a_model_does(model: Any) -> None:
    own = twin_of(model)()
    assert own.model_fields_set == model.model_fields_set
    for name in type(own).model_fields:
        setattr(own, name, None)
    assert own.model_fields_set == set(type(own).model_fields)
    again = twin_of(model)()
    assert again.model_fields_set == model.model_fields_set, "nor is it written to a set that others have"
    assert again.model_dump(exclude_unset=True) == model.model_dump(exclude_unset=True)
    assert pickle.loads(pickle.dumps(again)) == copy.deepcopy(again) == again.model_copy(deep=True) == model


def test_fields_that_a_class_does_not_know_are_the_copys_own() -> None:
    model = Said(blocks=[], role=Role.USER, extra={}, more=[1])  # type: ignore[call-arg]  # extra fields
    make = twin_of(model)
    own = make()
    own.more.append(2)
    own.other = 3
    assert make().model_dump(exclude_unset=True) == model.model_dump() == {**model.model_dump(), "more": [1]}
    assert model == twin_of(model)() == Said(blocks=[], more=[1])  # type: ignore[call-arg]


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("many", [1, 2_000])
def test_the_search_for_garbage_is_afterwards_as_it_was_before(is_on: bool, fails: bool, many: int) -> None:
    def broken() -> Any:
        raise ValueError

    twins: list[Twin] = [dict] * many + [broken] * fails
    was = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        if fails:
            with pytest.raises(ValueError):
                copies(twins)
        else:
            assert copies(twins) == [{}] * many
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was else gc.disable)()
