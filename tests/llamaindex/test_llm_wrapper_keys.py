"""What must be equal for a hit, what is asked, and that no secret gets anywhere (points 25 and 26)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

from tokenwise_core import scope
from tokenwise_core.cache import SemanticCache
from tokenwise_core.testing import HashEmbedder, Replay
from tokenwise_llamaindex import TokenwiseLLM
from tokenwise_llamaindex.cache.parameters import NoKeyError, call_settings, model_settings

NewCache = Callable[..., SemanticCache]
QUESTION = "How long does a refund take?"
REPHRASED = "how long does a refund take"
SECRETS = ("sk-very-secret", "very-secret", "hunter2")


def user(text: str = QUESTION) -> ChatMessage:
    return ChatMessage(role="user", content=text)


class Colour(BaseModel):
    name: str


class Fruit(BaseModel):
    name: str
    password: str


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def tides(port: str) -> str:
    """Tell the tides."""
    return port


TOOLS = {tool.__name__: FunctionTool.from_defaults(tool) for tool in (weather, tides)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"temperature": 0.9}),
        ({"seed": 1}, {"seed": 2}),
        ({"stop": ["a"]}, {"stop": ["b"]}),
        ({"tools": [TOOLS["weather"]]}, {"tools": [TOOLS["tides"]]}),
        ({"tools": [TOOLS["weather"]]}, {}),
        ({"tool_choice": "auto"}, {"tool_choice": "required"}),
        ({"response_format": Colour}, {"response_format": Fruit}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "text"}}),
        ({"extra_body": {"min_p": 0.1}}, {"extra_body": {"min_p": 0.2}}),
    ],
)
def test_calls_that_differ_in_a_parameter_never_share_an_answer(
    first: dict[str, Any], second: dict[str, Any], clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat([user()], **first)
    cache.flush()
    llm.chat([user()], **second)
    assert len(inner.calls) == 2
    llm.chat([user()], **first)
    assert len(inner.calls) == 2


BRIEF = ChatMessage(role="system", content="Be brief.")
PICTURE = ImageBlock(image=b"png")


@pytest.mark.parametrize(
    "second",
    [
        [ChatMessage(role="system", content="Be long."), user()],
        [BRIEF, user("Hello"), user()],
        [BRIEF, ChatMessage(role="assistant", content=QUESTION)],
        [BRIEF, ChatMessage(role="user", blocks=[TextBlock(text=QUESTION), PICTURE])],
    ],
)
def test_other_messages_before_or_in_the_question_never_share_an_answer(
    second: list[ChatMessage], clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat([BRIEF, user()])
    cache.flush()
    llm.chat(second)
    assert len(inner.calls) == 2


def test_a_warm_answer_is_served_for_the_same_temperature_alone(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    for temperature in (0.0, 0.7, 0.0, 0.7):
        llm.chat([user()], temperature=temperature)
    assert len(inner.calls) == 2


async def test_nothing_is_embedded_on_the_loop_s_own_thread(clerk: Any, new_cache: NewCache) -> None:
    threads: set[int] = set()

    class Watched(HashEmbedder):
        def embed(self, texts: Any) -> Any:
            threads.add(threading.get_ident())
            return super().embed(texts)

    cache = new_cache(embedder=Watched())
    llm = TokenwiseLLM(clerk(), cache=cache)
    for text in (QUESTION, REPHRASED):
        await llm.achat([user(text)])
        cache.flush()
    assert cache.stats().hits == {"semantic": 1}
    assert threads
    assert threading.get_ident() not in threads


def test_images_are_told_apart_by_what_is_in_them(clerk: Any, cache: SemanticCache, tmp_path: Path) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"one")
    images = [ImageBlock(image=b"one"), ImageBlock(image=b"two"), ImageBlock(url="https://example.org/1.png")]
    for _ in range(2):
        for image in (*images, ImageBlock(path=picture)):
            llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), image])])
    assert len(inner.calls) == 4
    picture.write_bytes(b"another")
    llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), ImageBlock(path=picture)])])
    assert len(inner.calls) == 5


@pytest.mark.parametrize(
    ("first", "second"),
    [({"temperature": 0.0}, {"temperature": 1.0}), ({"max_tokens": 10}, {"max_tokens": 20}), ({"replay": None}, {})],
)
def test_models_that_are_set_up_otherwise_never_share_an_answer(
    first: dict[str, Any], second: dict[str, Any], clerk: Any, cache: SemanticCache
) -> None:
    if "replay" in first:
        first = {"replay": Replay([], tier="weak")}  # another model's name
    one, other = clerk(**first), clerk(**second)
    TokenwiseLLM(one, cache=cache).chat([user()])
    cache.flush()
    TokenwiseLLM(other, cache=cache).chat([user()])
    assert (len(one.calls), len(other.calls)) == (1, 1)


def test_models_that_differ_in_keys_and_headers_alone_share_answers(clerk: Any, cache: SemanticCache) -> None:
    other = clerk(api_key="sk-rotated", default_headers={})
    TokenwiseLLM(clerk(), cache=cache).chat([user()])
    TokenwiseLLM(other, cache=cache).chat([user()])
    assert other.calls == []


def test_no_secret_is_in_what_identifies_a_model_or_a_call() -> None:
    llm = OpenAI(
        model="gpt-4o-mini", api_key="sk-very-secret", default_headers={"X": "very-secret"},
        api_base="https://bob:hunter2@gateway.example/v1?token=hunter2",
        additional_kwargs={"top_p": 0.5, "extra_headers": {"Authorization": "very-secret"}},
    )  # fmt: skip
    known = json.dumps(
        [
            model_settings(llm),
            call_settings({"extra_headers": {"A": "very-secret"}, "api_key": "sk-very-secret", "top_k": 3}),
        ]
    )
    assert not [secret for secret in SECRETS if secret in known]
    assert '"top_p": 0.5' in known
    assert '"top_k": 3' in known
    assert "gateway.example/v1" in known


def test_a_schema_may_well_have_a_field_named_password() -> None:
    schema = call_settings({"response_format": {"json_schema": {"password": {"type": "string"}}}})
    assert "password" in json.dumps(schema)


def test_no_secret_is_in_the_store(clerk: Any, new_cache: NewCache, tmp_path: Path) -> None:
    cache = new_cache(entries=f"sqlite:///{tmp_path / 'looked-at.sqlite'}")
    TokenwiseLLM(clerk(), cache=cache).chat([user()], extra_headers={"Authorization": "hunter2"})
    cache.flush()
    cache.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("looked-at*"))
    assert QUESTION.encode() in stored
    assert not [secret for secret in SECRETS if secret.encode() in stored]


def test_a_call_with_something_that_cannot_be_compared_gets_no_cache(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    with pytest.raises(NoKeyError):
        call_settings({"on_token": print, "handle": object()})
    for _ in range(2):
        assert llm.chat([user()], handle=object()).message.content
    assert len(inner.calls) == 2
    assert cache.stats().lookups == 0


def test_tenants_never_see_each_other_s_answers_and_a_lost_scope_sees_none(clerk: Any, new_cache: NewCache) -> None:
    inner = clerk(lambda _m, _p: f"answer {len(inner.calls)}")
    llm = TokenwiseLLM(inner, cache=new_cache(namespace=lambda s: s.user))
    said = []
    for name in ("ann", "bob", "ann", None, None):
        with scope(user=name):
            said.append(llm.chat([user()]).message.content)
    assert said == ["answer 1", "answer 2", "answer 1", "answer 3", "answer 4"]


# What is asked --------------------------------------------------------------------------------------------------------

RAG = "Context information is below.\n{context_str}\nAnswer the query in a few words.\nQuery: {query_str}\nAnswer: "


def predict(llm: TokenwiseLLM, query: str, context: str, template: str = RAG) -> str:
    return llm.predict(PromptTemplate(template), query_str=query, context_str=context)


@pytest.fixture
def counting(clerk: Any, cache: SemanticCache) -> Iterator[tuple[TokenwiseLLM, list[Any]]]:
    inner = clerk(lambda _m, _p: f"answer {len(inner.calls)}")
    yield TokenwiseLLM(inner, cache=cache), inner.calls
    cache.flush()


def test_in_a_filled_template_only_the_query_may_be_rephrased(
    counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    predict(llm, QUESTION, "Refunds take five days.")
    cache.flush()
    assert predict(llm, REPHRASED, "Refunds take five days.") == "answer 1"
    assert predict(llm, QUESTION, "Refunds take nine days.") == "answer 2"  # other context: another question
    assert predict(llm, REPHRASED, "refunds take five days.") == "answer 3"
    assert len(calls) == 3


def test_the_context_is_compared_even_where_it_quotes_the_query(
    counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    predict(llm, QUESTION, f"FAQ: {QUESTION} Five days.")
    cache.flush()
    predict(llm, QUESTION, f"FAQ: {QUESTION} Nine days.")
    assert len(calls) == 2


def test_a_query_that_the_template_was_given_before_is_known_too(
    counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    for query in (QUESTION, REPHRASED):
        llm.predict(PromptTemplate(RAG).partial_format(query_str=query), context_str="Five days.")
        cache.flush()
    assert len(calls) == 1


@pytest.mark.parametrize("variable", ["question", "query", "user_input", "message"])
def test_a_variable_that_usually_holds_the_question_is_taken_for_it(
    variable: str, counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    template = PromptTemplate(f"Answer in {{language}}: {{{variable}}}")
    for query, language in ((QUESTION, "French"), (REPHRASED, "French"), (REPHRASED, "Dutch")):
        llm.predict(template, language=language, **{variable: query})
        cache.flush()
    assert len(calls) == 2


def test_a_filled_template_of_which_nobody_knows_the_query_is_served_word_for_word_only(
    counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    template = PromptTemplate("Translate into French: {text}")
    for text in ("The cat sat on a mat.", "the cat sat on a mat", "The cat sat on a mat."):
        llm.predict(template, text=text)
        cache.flush()
    assert len(calls) == 2


def test_the_same_holds_for_chat_templates_streams_and_the_awaited_ones(
    counting: tuple[TokenwiseLLM, list[Any]], cache: SemanticCache
) -> None:
    llm, calls = counting
    template = ChatPromptTemplate.from_messages([("system", "Context: {context_str}"), ("user", "{query_str}")])
    assert list(llm.stream(template, query_str=QUESTION, context_str="Five days."))
    cache.flush()
    assert "".join(llm.stream(template, query_str=REPHRASED, context_str="Five days.")) == "answer 1"
    assert llm.predict(template, query_str=REPHRASED, context_str="Nine days.") == "answer 2"
    assert len(calls) == 2


async def test_awaited_predictions_know_their_query(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(lambda _m, _p: f"answer {len(inner.calls)}")
    llm = TokenwiseLLM(inner, cache=cache)
    template = PromptTemplate(RAG)
    assert await llm.apredict(template, query_str=QUESTION, context_str="Five days.") == "answer 1"
    cache.flush()
    assert await llm.apredict(template, query_str=REPHRASED, context_str="Five days.") == "answer 1"
    tokens = await llm.astream(template, query_str=REPHRASED, context_str="Five days.")
    assert "".join([token async for token in tokens]) == "answer 1"
    assert await llm.apredict(template, query_str=REPHRASED, context_str="Nine days.") == "answer 2"


def test_the_user_s_own_function_says_what_is_asked(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(lambda _m, _p: f"answer {len(inner.calls)}")

    def asked(messages: Any) -> str | None:
        _, mark, question = messages[-1].content.partition("QUESTION=")
        return question if mark else None

    llm = TokenwiseLLM(inner, cache=cache, query=asked)
    for text in (f"Page 3\nQUESTION={QUESTION}", f"Page 3\nQUESTION={REPHRASED}", f"Page 4\nQUESTION={QUESTION}"):
        llm.complete(text)
        cache.flush()
    assert len(inner.calls) == 2


def test_a_part_of_a_message_that_is_tagged_as_the_user_s_is_the_question(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    for query in (QUESTION, REPHRASED):
        tag = {"component": "user_input", "start": len("Page 3: ")}
        llm.chat([ChatMessage(role="user", content=f"Page 3: {query}", additional_kwargs={"tokenwise": tag})])
        cache.flush()
    assert len(inner.calls) == 1


def test_a_plain_prompt_of_several_lines_is_taken_for_a_filled_template(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    for query in (QUESTION, REPHRASED):  # as `CondensePlusContextChatEngine` does it
        llm.complete(f"Rephrase what follows.\n{query}\nRephrased:")
        cache.flush()
    assert len(inner.calls) == 2


def test_after_a_tool_s_result_only_the_very_same_conversation_is_served(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    call = ToolCallBlock(tool_call_id="1", tool_name="weather", tool_kwargs={"city": "Rome"})

    def asked(result: str, call_id: str = "1") -> list[ChatMessage]:
        called = ChatMessage(role="assistant", blocks=[call.model_copy(update={"tool_call_id": call_id})])
        return [user(), called, ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": call_id})]

    llm.chat(asked("Sunny in Rome."))
    cache.flush()
    llm.chat(asked("sunny in rome"))
    assert len(inner.calls) == 2
    llm.chat(asked("Sunny in Rome.", call_id="2"))  # ids are new in each run
    assert len(inner.calls) == 2


def test_what_a_react_agent_observed_is_no_question(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache, query=lambda messages: messages[-1].content)
    for seen in ("Observation: It is sunny in Rome.", "Observation: It is sunny in Rome"):
        llm.chat([user(), ChatMessage(role="assistant", content="Thought: look."), user(seen)])
        cache.flush()
    assert len(inner.calls) == 2


def test_models_without_chat_know_their_query_too(cache: SemanticCache) -> None:
    llm = TokenwiseLLM(MockLLM(), cache=cache)
    assert not llm.metadata.is_chat_model
    first = predict(llm, QUESTION, "Five days.")
    cache.flush()
    assert predict(llm, REPHRASED, "Five days.") == first
    assert predict(llm, REPHRASED, "Nine days.") != first
