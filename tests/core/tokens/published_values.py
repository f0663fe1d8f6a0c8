"""Prompt sizes that others published after asking OpenAI's API, as (request, tokens).

CL100K: the validated cases of hmarr/openai-chat-tokens (MIT; gpt-3.5-turbo). TOOLS: those of
pamelafox/openai-messages-token-helper (MIT; gpt-35-turbo, gpt-4). COOKBOOK: openai-cookbook's guide (MIT).
"""

from __future__ import annotations

from typing import Any


def _function(name: str, description: str | None = None, /, **properties: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "parameters": {"type": "object", "properties": properties}}
    return made if description is None else {**made, "description": description}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _says(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


STRING, NUMBER, BOOLEAN = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
HELLO = [_says("user", "hello")]
GREETED = [_says("system", "Hello"), _says("user", "Hi there")]
TWO_SYSTEM = [_says("system", "Hello:"), _says("system", "Hello"), _says("user", "Hi there")]
NESTED = _object(bar={"type": "string", "enum": ["a", "b", "c"]}, baz=BOOLEAN)
INGREDIENT = {
    **_object(
        name=STRING, unit={"enum": ["grams", "ml", "cups", "pieces", "teaspoons"], "type": "string"}, amount=NUMBER
    ),
    "required": ["name", "unit", "amount"],
}
RECIPE = _function(
    "get_recipe",
    None,
    ingredients={"type": "array", "items": INGREDIENT},
    instructions={"type": "array", "items": STRING, "description": "Steps to prepare the recipe (no numbering)"},
    time_to_cook={"type": "number", "description": "Total time to prepare the recipe in minutes"},
)
RECIPE["parameters"]["required"] = ["ingredients", "instructions", "time_to_cook"]


def _kind(value: str, **properties: Any) -> dict[str, Any]:
    return _object(kind={"type": "string", "const": value}, **properties)


POST_OR_USER = {
    "description": "The foo or the bar",
    "anyOf": [
        {**_kind("post", text=STRING), "required": ["kind", "text"]},
        {**_kind("user", name={"type": "string", "enum": ["jane", "suzie", "adam"]}), "required": ["kind", "name"]},
    ],
}
RETURN_FOO = _function("foo", "Return the foo or the bar", res=POST_OR_USER)
RETURN_FOO["parameters"]["required"] = ["res"]
SUZIE = [
    _says("system", "You are an AI assistant trained to foo or bar"),
    _says("user", "My name is suzie"),
    _says("function", '{"res":{"kind":"user","name":"suzie"}}', name="foo"),
    _says("user", 'I want to post a message with the text "hello world"'),
    _says("function", '{"res":{"kind":"post","text":"hello world"}}', name="foo"),
]
FOO = [_function("foo")]
STUFF = [_function("do_stuff")]
OTHER = [*STUFF, _function("do_other_stuff")]
CALL = {"name": "do_stuff", "arguments": '{"foo": "bar", "baz": 1.5}'}
PROS = {"type": "array", "items": STRING, "description": "Write 3 points why this text is well written"}

CL100K: list[tuple[dict[str, Any], int]] = [
    ({"messages": HELLO}, 8),
    ({"messages": [_says("user", "hello world")]}, 9),
    ({"messages": [_says("system", "hello")]}, 8),
    ({"messages": [_says("system", "hello:")]}, 9),
    (
        {
            "messages": [
                _says("system", "# Important: you're the best robot"),
                _says("user", "hello robot"),
                _says("assistant", "hello world"),
            ]
        },
        27,
    ),
    ({"messages": HELLO, "functions": FOO}, 31),
    ({"messages": HELLO, "functions": FOO, "function_call": "none"}, 32),
    ({"messages": HELLO, "functions": FOO, "function_call": "auto"}, 31),
    ({"messages": HELLO, "functions": FOO, "function_call": {"name": "foo"}}, 36),
    ({"messages": HELLO, "functions": [_function("foo", "Do a foo")]}, 36),
    ({"messages": HELLO, "functions": [_function("bing_bong", "Do a bing bong", foo=STRING)]}, 49),
    (
        {
            "messages": HELLO,
            "functions": [
                _function("bing_bong", "Do a bing bong", foo=STRING, bar={"type": "number", "description": "A number"})
            ],
        },
        57,
    ),
    ({"messages": HELLO, "functions": [_function("bing_bong", "Do a bing bong", foo=NESTED)]}, 68),
    ({"messages": [_says("user", "hello world"), _says("function", "{}", name="do_stuff")]}, 15),
    (
        {"messages": [_says("user", "hello world"), _says("function", '{"foo": "bar", "baz": 1.5}', name="do_stuff")]},
        28,
    ),
    ({"messages": [_says("function", '{"a": { "b" : { "c": false}}}', name="dance_the_tango")]}, 24),
    ({"messages": [_says("assistant", "", function_call=CALL)]}, 26),
    (
        {
            "messages": [
                _says("assistant", "", function_call={"name": "do_stuff", "arguments": '{"foo":"bar", "baz":\n\n 1.5}'})
            ]
        },
        25,
    ),
    ({"messages": SUZIE, "functions": [RETURN_FOO], "function_call": {"name": "foo"}}, 158),
    (
        {"messages": GREETED, "functions": [_function("do_stuff", None, foo={"anyOf": [_kind("a", baz=BOOLEAN)]})]},
        52,
    ),
    (
        {
            "messages": GREETED,
            "functions": [
                _function(
                    "do_stuff",
                    None,
                    foo={"anyOf": [_kind("a", baz=BOOLEAN), _kind("b", qux=NUMBER), _kind("c", idk=STRING)]},
                )
            ],
        },
        80,
    ),
    (
        {
            "messages": GREETED,
            "functions": [_function("do_stuff", None, foo={"anyOf": [{"type": "string", "const": "a"}, NUMBER]})],
        },
        44,
    ),
    ({"messages": GREETED, "functions": STUFF}, 35),
    ({"messages": TWO_SYSTEM, "functions": STUFF}, 40),
    ({"messages": TWO_SYSTEM, "functions": OTHER}, 49),
    ({"messages": TWO_SYSTEM, "functions": OTHER, "function_call": {"name": "do_stuff"}}, 55),
    ({"messages": HELLO, "functions": [RECIPE]}, 106),
    ({"messages": HELLO, "functions": [_function("function", "description", quality=_object(pros=PROS))]}, 46),
]

JARGON = [
    _says(
        "system",
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    ),
    _says("system", "New synergies will help drive top-line growth.", name="example_user"),
    _says("system", "Things working well together will increase revenue.", name="example_assistant"),
    _says(
        "system",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        name="example_user",
    ),
    _says("system", "Let's talk later when we're less busy about how to do better.", name="example_assistant"),
    _says("user", "This late pivot means we don't have time to boil the ocean for the client deliverable."),
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
ASKED = [
    _says("system", "You are a helpful assistant that can answer to questions about the weather."),
    _says("user", "What's the weather like in San Francisco?"),
]
COOKBOOK: list[tuple[str, dict[str, Any], int]] = [
    ("gpt-3.5-turbo", {"messages": JARGON}, 129),
    ("gpt-4-0613", {"messages": JARGON}, 129),
    ("gpt-4", {"messages": JARGON}, 129),
    ("gpt-4o", {"messages": JARGON}, 124),
    ("gpt-4o-mini", {"messages": JARGON}, 124),
    ("gpt-4", {"messages": ASKED, "tools": [WEATHER]}, 105),
    ("gpt-3.5-turbo", {"messages": ASKED, "tools": [WEATHER]}, 105),
    ("gpt-4o", {"messages": ASKED, "tools": [WEATHER]}, 101),
    ("gpt-4o-mini", {"messages": ASKED, "tools": [WEATHER]}, 101),
    *(
        ("gpt-4", {"messages": [message]}, tokens)
        for message, tokens in zip(JARGON, (25, 20, 19, 28, 26, 26), strict=True)
    ),
]

BOT = _says("system", "You are a bot.")
QUERY = {
    "type": "string",
    "description": "Query string to retrieve documents from azure search eg: 'Health care plan'",
}
STRING_2A = {"type": "string", "enum": ["Happy", "Sad"]}
STRING_2B = {"type": "string", "description": "Description in a second object is lost"}
SIGNS = (
    "If user is showing signs of frustration or anger in the query. "
    "Also if the user says they want to talk to a real person and not a chat bot."
)


def _bot(tokens: int, function: dict[str, Any], choice: Any, *required: str) -> tuple[dict[str, Any], int]:
    if required:
        function["parameters"]["required"] = list(required)
    tool = {"type": "function", "function": function}
    return {"messages": [BOT], "tools": [tool], "tool_choice": choice}, tokens


def _search(**properties: Any) -> dict[str, Any]:
    return _function("search_sources", "Retrieve sources from the Azure AI Search index", **properties)


def _demonstration(**properties: Any) -> dict[str, Any]:
    return _function("data_demonstration", "This is the main function description", **properties)


def _property(**properties: Any) -> dict[str, Any]:
    return {**_object(**properties), "description": "The object data type as a property"}


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


TOOLS: list[tuple[dict[str, Any], int]] = [
    _bot(66, _search(search_query=QUERY), "auto", "search_query"),
    _bot(67, _search(search_query=QUERY), "none", "search_query"),
    _bot(75, _search(search_query=QUERY), _named("search_sources"), "search_query"),
    _bot(54, _demonstration(integer_enum={"type": "integer", "enum": [-1, 1]}), "none"),
    _bot(64, _demonstration(integer_enum={"type": "integer", "enum": [-1, 1]}), _named("data_demonstration")),
    _bot(42, _search(), "auto"),
    _bot(51, _search(), _named("search_sources")),
    _bot(49, _search(search_query=STRING), "auto"),
    _bot(49, _search(search_query=STRING), "auto", "search_query"),
    _bot(
        86,
        _function(
            "summarize_order",
            "Summarize the customer order request",
            product_name={"type": "string", "description": "Product name ordered by customer"},
            quantity={"type": "integer", "description": "Quantity ordered by customer"},
            unit={
                "type": "string",
                "enum": ["meals", "days"],
                "description": "unit of measurement of the customer order",
            },
        ),
        "none",
        *("product_name", "quantity", "unit"),
    ),
    _bot(65, _demonstration(object_1=_property(string1=STRING)), "none", "object_1"),
    _bot(73, _demonstration(object_1=_property(string_2a=STRING_2A)), "none", "object_1"),
    _bot(89, _demonstration(object_1=_property(string_2a=STRING_2A, string_2b=STRING_2B)), "none", "object_1"),
    _bot(
        103,
        _demonstration(
            object_1=_property(string_2a=STRING_2A, string_2b=STRING_2B),
            string_1={"type": "string", "description": "Not required gets a question mark"},
        ),
        "none",
        "object_1",
    ),
    _bot(
        89,
        _function(
            "human_escalation",
            "Check if user wants to escalate to a human",
            requires_escalation={"type": "boolean", "description": SIGNS},
        ),
        "none",
        "requires_escalation",
    ),
    _bot(
        59,
        _function(
            "get_coordinates",
            "Get the latitude and longitude of multiple mailing addresses",
            addresses={"type": "array", "description": "The mailing addresses to be located", "items": STRING},
        ),
        "none",
        "addresses",
    ),
    _bot(
        55,
        _function(
            "get_null",
            "Get the null value",
            null_value={"type": "null", "description": "The null value to be returned"},
        ),
        "none",
        "null_value",
    ),
    _bot(
        59,
        _function(
            "get_no_type",
            "Get the no type value",
            no_type_value={"description": "The no type value to be returned"},
        ),
        "none",
        "no_type_value",
    ),
]
