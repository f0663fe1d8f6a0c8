"""The tools in a key: hashed once for each content, and never taken for what they were before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache import key as keys
from tokenwise_core.cache.key import request_key
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.messages import Message, Prompt, ToolDefinition
from tokenwise_core.tokens.memo import Memo, content_key

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def search(**parameters: Any) -> ToolDefinition:
    return ToolDefinition(
        name="search",
        description="Search the handbook.",
        parameters=parameters or {"type": "object", "properties": {"query": {"type": "string"}}},
    )


def key(*tools: ToolDefinition) -> bytes:
    prompt = Prompt(messages=(Message(role="user", text="Where is my parcel?"),), tools=tools)
    return request_key(CacheRequest(prompt=prompt, model="gpt-4o"), namespace="ns").exact


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was written out as JSON, with a memo that knows nothing yet."""
    written: list[Any] = []
    encode: Callable[[Any], str] = keys._encode
    monkeypatch.setattr(keys, "_tool_digests", Memo(8))
    monkeypatch.setattr(keys, "_encode", lambda value: written.append(value) or encode(value))
    return written


@pytest.mark.parametrize(
    "other",
    [
        replace(search(), name="find"),
        replace(search(), description="Search the web."),
        replace(search(), strict=True),
        replace(search(), kind="web_search", raw={"type": "web_search"}),
        search(type="object", properties={"query": {"type": "integer"}}),
        search(type="object", properties={"query": {"type": "string", "description": "words"}}),
    ],
)
def test_a_tool_that_differs_in_anything_is_another_key(other: ToolDefinition) -> None:
    assert key(other) != key(search())


def test_a_built_in_tool_with_other_settings_is_another_key() -> None:
    wide, narrow = (
        ToolDefinition(name="web_search", kind="web_search", raw={"type": "web_search", "size": size})
        for size in ("high", "low")
    )
    assert key(wide) != key(narrow)


def test_a_schema_changed_in_place_is_another_key_and_changed_back_the_old_one() -> None:
    tool = search()
    before = key(tool)
    tool.parameters["properties"]["query"]["type"] = "integer"
    assert key(tool) != before
    tool.parameters["properties"]["query"]["type"] = "string"
    assert key(tool) == before


def test_neither_the_order_of_tools_nor_that_of_names_counts_but_how_many_there_are_does() -> None:
    find, turned = replace(search(), name="find"), search(properties={"query": {"type": "string"}}, type="object")
    assert key(search(), find) == key(find, turned)
    assert key(search(), search()) != key(search())


def test_the_parts_of_one_tool_do_not_run_into_another() -> None:
    assert key(ToolDefinition(name="a", description="b"), ToolDefinition(name="c")) != key(
        ToolDefinition(name="a"), ToolDefinition(name="c", description="b")
    )


def test_the_same_tools_are_written_out_once(encoded: list[Any]) -> None:
    for _ in range(5):
        key(search(), replace(search(), name="find"))
    assert sum("Search the handbook." in str(value) for value in encoded) == 2


def test_what_is_no_plain_data_is_written_out_each_time(encoded: list[Any]) -> None:
    class Odd(str):
        """A text that could say anything of itself."""

    key(search(title=Odd("one")))
    key(search(title=Odd("one")))
    assert sum("Search the handbook." in str(value) for value in encoded) == 2
    assert key(search(title=Odd("one"))) != key(search(title=Odd("two")))


def test_the_memo_is_bounded(encoded: list[Any]) -> None:
    for n in range(50):
        key(replace(search(), name=f"tool_{n}"))
    assert len(keys._tool_digests) <= 8


def test_threads_that_ask_at_once_get_the_same_keys(encoded: list[Any]) -> None:
    tools = [replace(search(), name=f"tool_{n}") for n in range(24)]  # three times what the memo holds
    alone = [key(tool) for tool in tools]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(key, tools * 20))
    assert found == alone * 20


@given(PLAIN, PLAIN)
def test_two_contents_share_a_key_only_if_they_are_equal(one: Any, other: Any) -> None:
    if content_key(one) == content_key(other):
        assert repr(one) == repr(other)
    assert content_key([one, {"a": other}]) == content_key([one, {"a": other}])


@pytest.mark.parametrize("value", [object(), str, {"schema": ToolDefinition}, [search()]])
def test_what_is_no_plain_data_has_no_content(value: Any) -> None:
    assert content_key(value) is None
