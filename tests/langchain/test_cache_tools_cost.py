"""What an agent's tools cost a lookup: each is converted once, and noticed when it is no longer what it was."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import ref

import pytest
from langchain.agents.middleware.types import ModelRequest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, create_model

from tokenwise_core.cache import SemanticCache
from tokenwise_core.cache.key import request_key
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.tokens.memo import Memo
from tokenwise_langchain import SemanticCacheMiddleware, wire
from tokenwise_langchain.cache import parameters
from tokenwise_langchain.wire import openai_tool

NewCache = Callable[..., SemanticCache]


class Order(BaseModel):
    """An order."""

    number: str = Field(description="as printed on the invoice")


def by_json(**changes: Any) -> StructuredTool:
    schema = {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}
    given = {"name": "look", "description": "Look an order up.", "args_schema": schema, **changes}
    return StructuredTool(func=lambda **_: "", **given)


def by_class(**changes: Any) -> StructuredTool:
    return by_json(**{"args_schema": Order, **changes})


class Look(BaseTool):
    """A tool whose arguments are those of its method."""

    name: str = "look"
    description: str = "Look an order up."

    def _run(self, number: str) -> str:
        return number


@tool
def decorated(number: str) -> str:
    """Look an order up."""
    return number


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tools that were converted, with a memo that knows none yet."""
    seen: list[Any] = []
    monkeypatch.setattr(wire, "_converted", Memo(64))
    monkeypatch.setattr(
        wire, "convert_to_openai_tool", lambda given: seen.append(given) or convert_to_openai_tool(given)
    )
    return seen


@pytest.fixture
def canonicals(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tools that were written in canonical form, with a memo that knows none yet."""
    seen: list[Any] = []
    form = parameters.canonical

    def counted(value: object, depth: int = 0) -> Any:
        if depth == 2 and isinstance(value, dict) and "function" in value:
            seen.append(value["function"]["name"])
        return form(value, depth)

    monkeypatch.setattr(parameters, "_tool_digests", Memo(64))
    monkeypatch.setattr(parameters, "canonical", counted)
    return seen


@pytest.fixture
def key(new_cache: NewCache) -> Callable[..., bytes]:
    """The key of a question asked with tools on offer."""
    middleware = SemanticCacheMiddleware(new_cache())
    model: BaseChatModel = FakeListChatModel(responses=["In Ghent."])

    def of(*tools: Any) -> bytes:
        request = ModelRequest(model=model, messages=[HumanMessage("Where is my order?")], tools=list(tools))
        return request_key(middleware._request(request), namespace="ns").exact

    return of


def test_the_tools_of_an_agent_are_converted_once_for_all_its_calls(
    key: Callable[..., bytes], conversions: list[Any], canonicals: list[Any]
) -> None:
    tools = [
        by_json(name=given.name, description=given.description, args_schema=dict(given.parameters))
        for given in load_workload().tools
    ]
    assert len({key(*tools) for _ in range(4)}) == 1
    assert len(conversions) == len(canonicals) == len(tools) == 24


@pytest.mark.parametrize(
    "make", [by_json, by_class, Look, lambda: decorated], ids=["json", "class", "method", "function"]
)
def test_a_converted_tool_is_what_langchain_makes_of_it(make: Callable[[], BaseTool], conversions: list[Any]) -> None:
    look = make()
    assert openai_tool(look) == openai_tool(look) == convert_to_openai_tool(look)
    assert len(conversions) == 1


@pytest.mark.parametrize("make", [by_json, by_class, Look], ids=["json", "class", "method"])
@pytest.mark.parametrize(("name", "value"), [("name", "find"), ("description", "Find an order.")])
def test_a_tool_whose_name_or_description_is_set_is_another_tool(
    make: Callable[[], BaseTool], name: str, value: str, key: Callable[..., bytes]
) -> None:
    look, fresh = make(), make()
    before = key(look)
    setattr(look, name, value)
    setattr(fresh, name, value)
    assert key(look) != before
    assert key(look) == key(fresh)


def test_a_json_schema_changed_in_place_is_another_tool_and_changed_back_the_old_one(key: Callable[..., bytes]) -> None:
    look = by_json()
    before = key(look)
    look.args_schema["properties"]["number"]["type"] = "integer"
    assert key(look) != before
    look.args_schema["properties"]["number"]["type"] = "string"
    assert key(look) == before


def test_a_schema_changed_after_its_conversion_does_not_change_what_was_kept(conversions: list[Any]) -> None:
    look, twin = by_json(), by_json()
    openai_tool(look)
    look.args_schema["properties"]["number"]["type"] = "integer"
    assert openai_tool(twin) == convert_to_openai_tool(twin)


def test_a_dict_tool_changed_in_place_is_another_tool(key: Callable[..., bytes]) -> None:
    bound = convert_to_openai_tool(by_json())
    before = key(bound)
    bound["function"]["parameters"]["properties"]["number"]["description"] = "eight digits"
    assert key(bound) != before


def test_what_a_provider_adds_to_a_tool_counts(key: Callable[..., bytes]) -> None:
    bound = convert_to_openai_tool(by_json())
    assert key({**bound, "input_examples": [{"number": "7"}]}) != key(bound)


def test_another_class_under_the_same_name_is_another_tool(key: Callable[..., bytes]) -> None:
    first, second = (create_model("Order", number=(kind, ...), __doc__="An order.") for kind in (str, int))
    look = by_class(args_schema=first)
    before = key(look)
    look.args_schema = second
    assert key(look) != before
    assert key(by_class(args_schema=second)) == key(look)
    assert key(by_class(args_schema=first)) == before


def test_a_class_that_was_built_anew_counts_as_what_a_new_tool_binds(key: Callable[..., bytes]) -> None:
    changing = create_model("Order", number=(str, Field(description="old")))
    before = key(by_class(args_schema=changing))
    changing.model_fields["number"].description = "new"
    changing.model_rebuild(force=True)
    look = by_class(args_schema=changing)
    assert "new" in str(openai_tool(look))
    assert key(look) != before


def test_a_tool_that_makes_its_schema_up_anew_is_asked_each_time(key: Callable[..., bytes]) -> None:
    class Moody(Look):
        """A tool that shows another schema with each mood."""

        mood: str = "good"

        @property
        def tool_call_schema(self) -> dict[str, Any]:
            return {"type": "object", "properties": {self.mood: {"type": "string"}}}

    look = Moody()
    before = key(look)
    look.mood = "bad"
    assert key(look) != before


def test_a_custom_tool_counts_with_its_format(key: Callable[..., bytes]) -> None:
    plain, ruled = (
        Tool(
            name="run", description="Run it.", func=str, metadata={"type": "custom_tool", "format": {"syntax": syntax}}
        )
        for syntax in ("text", "lark")
    )
    assert key(plain) != key(ruled)


def test_a_tool_made_for_one_call_is_not_kept(key: Callable[..., bytes]) -> None:
    args = create_model("Order", number=(str, ...))
    look = by_class(args_schema=args)
    key(look)
    gone = ref(look), ref(look.tool_call_schema)
    del look, args
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_the_memos_are_bounded(key: Callable[..., bytes], conversions: list[Any], canonicals: list[Any]) -> None:
    for n in range(200):
        key(by_json(name=f"tool_{n}"))
    assert len(wire._converted) <= 64
    assert len(parameters._tool_digests) <= 64


def test_threads_that_ask_at_once_get_the_same_keys(key: Callable[..., bytes], conversions: list[Any]) -> None:
    tools = [by_class(name=f"tool_{n}") for n in range(100)]  # more than the memo holds
    alone = [key(look) for look in tools]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(key, tools * 3)) == alone * 3
