"""`TokenwiseLLM` in the place of a model: what passes, what is served, what is kept."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, Settings
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM, _supports_tool_required
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode

from tokenwise_core import BadInput
from tokenwise_core.cache import SemanticCache
from tokenwise_core.stack import Course, Proceed
from tokenwise_core.testing import HashEmbedder
from tokenwise_llamaindex import CoreEmbedding, LlamaIndexEmbedder, TokenwiseLLM
from tokenwise_llamaindex.cache import answers
from tokenwise_llamaindex.calls import LLMAnswer, LLMCall

NewCache = Callable[..., SemanticCache]
ANSWER = "A refund of order A-17 takes five working days."
QUESTION = "How long does a refund take?"
REPHRASED = "how long does a refund take"
OTHER = "Who pays for the parcel?"


def user(text: str = QUESTION) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


# The eight calls ------------------------------------------------------------------------------------------------------


def _chat(llm: LLM, text: str) -> str:
    return llm.chat(user(text)).message.content or ""


def _stream_chat(llm: LLM, text: str) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_chat(user(text)))


def _achat(llm: LLM, text: str) -> str:
    return asyncio.run(llm.achat(user(text))).message.content or ""


def _astream_chat(llm: LLM, text: str) -> str:
    async def read() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(user(text))])

    return asyncio.run(read())


def _complete(llm: LLM, text: str) -> str:
    return llm.complete(text).text


def _acomplete(llm: LLM, text: str) -> str:
    return asyncio.run(llm.acomplete(text)).text


def _stream_complete(llm: LLM, text: str) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_complete(text))


def _astream_complete(llm: LLM, text: str) -> str:
    async def read() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_complete(text)])

    return asyncio.run(read())


CHATS = (_chat, _stream_chat, _achat, _astream_chat)
COMPLETIONS = (_complete, _stream_complete, _acomplete, _astream_complete)
Call = Callable[[LLM, str], str]


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_a_repeated_call_is_served_and_the_model_is_asked_once(call: Call, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert {call(llm, QUESTION) for _ in range(3)} == {call(clerk(), QUESTION)}
    assert len(inner.calls) == 1


@pytest.mark.parametrize("calls", [CHATS, COMPLETIONS])
def test_what_one_way_of_calling_has_learnt_the_others_serve(
    calls: tuple[Call, ...], clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert len({call(llm, QUESTION) for call in calls}) == 1
    assert len(inner.calls) == 1


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_a_rephrased_question_is_served_and_another_is_not(call: Call, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(lambda messages, _: f"You asked: {messages[-1].content}")
    llm = TokenwiseLLM(inner, cache=cache)
    call(llm, QUESTION)
    cache.flush()
    assert call(llm, REPHRASED) == f"You asked: {QUESTION}"
    assert call(llm, OTHER) == f"You asked: {OTHER}"
    assert len(inner.calls) == 2


def test_a_chat_and_a_completion_of_the_same_words_are_two_requests(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat(user())
    llm.complete(QUESTION)
    assert len(inner.calls) == 2


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_without_levers_the_wrapper_only_passes_on(call: Call, clerk: Any) -> None:
    inner = clerk()
    assert call(TokenwiseLLM(inner), QUESTION) == call(clerk(), QUESTION)
    assert len(inner.calls) == 1


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_an_error_of_the_model_reaches_the_caller_and_nothing_is_kept(
    call: Call, clerk: Any, cache: SemanticCache
) -> None:
    class Failing(clerk):  # type: ignore[misc]
        def _answered(self, messages: Any, params: Any) -> ChatResponse:
            self.calls.append(messages)
            if len(self.calls) <= 2:
                raise ConnectionError
            return ChatResponse(message=ChatMessage(role="assistant", content="now"), raw={})

    inner = Failing()
    llm = TokenwiseLLM(inner, cache=cache)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            call(llm, QUESTION)
    assert [call(llm, QUESTION), call(llm, QUESTION)] == ["now", "now"]
    assert len(inner.calls) == 3


# Streams (point 27) ---------------------------------------------------------------------------------------------------


def test_a_replayed_stream_has_deltas_and_cumulative_messages_like_a_real_one(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk("One two three"), cache=cache)
    real = list(llm.stream_chat(user()))
    replayed = list(llm.stream_chat(user()))
    for chunks in (real, replayed):
        said = ""
        for chunk in chunks:
            said += chunk.delta or ""
            assert chunk.message.content == said
        assert said == "One two three"
    assert len(replayed) == 3
    assert all(chunk.additional_kwargs["tokenwise"]["cache"] == "exact" for chunk in replayed)


@pytest.mark.parametrize("text", ["word", "two  blanks", "line\n\nline", " around ", "word " * 5_000])
def test_every_text_is_replayed_whole_in_at_least_one_and_not_too_many_chunks(
    text: str, clerk: Any, cache: SemanticCache
) -> None:
    message = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), TextBlock(text=text)])
    llm = TokenwiseLLM(clerk(lambda _m, _p: message), cache=cache)
    llm.chat(user())
    replayed = list(llm.stream_chat(user()))
    assert "".join(chunk.delta or "" for chunk in replayed) == text
    assert 1 <= len(replayed) <= 32
    assert replayed[-1].message.content == text
    assert replayed[0].additional_kwargs["thinking_delta"] == "Hm."
    assert isinstance(replayed[-1].message.blocks[0], ThinkingBlock)


def test_a_stream_is_kept_only_when_it_has_ended_normally(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk("one two three", errors=1)
    llm = TokenwiseLLM(inner, cache=cache)
    with pytest.raises(ConnectionError):
        list(llm.stream_chat(user()))
    abandoned = llm.stream_chat(user())
    next(abandoned)
    abandoned.close()
    llm.stream_chat(user())  # not even begun to be read
    assert [chunk.delta for chunk in llm.stream_chat(user())][:2] == ["one", " two"]
    assert len(inner.calls) == 4
    llm.chat(user())
    assert len(inner.calls) == 4


async def test_an_awaited_stream_is_kept_only_when_it_has_ended_normally(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk("one two three")
    llm = TokenwiseLLM(inner, cache=cache)
    abandoned = await llm.astream_chat(user())
    await anext(abandoned)
    await abandoned.aclose()
    async for _ in await llm.astream_chat(user()):
        pass
    assert len(inner.calls) == 2
    await llm.achat(user())
    assert len(inner.calls) == 2


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_an_answer_that_says_nothing_is_not_kept(call: Call, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(" ")
    llm = TokenwiseLLM(inner, cache=cache)
    assert {call(llm, QUESTION).strip() for _ in range(2)} == {""}
    assert len(inner.calls) == 2
    assert cache.stats().refused == {"empty": 2}


def test_what_was_only_thought_is_no_answer(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(
        lambda _m, _p: ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), TextBlock(text="")])
    )
    llm = TokenwiseLLM(inner, cache=cache)
    for _ in range(2):
        llm.chat(user())
    assert len(inner.calls) == 2


def test_a_truncated_stream_is_not_kept_though_its_last_chunk_does_not_say_so(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk("one two", finish="length")
    llm = TokenwiseLLM(inner, cache=cache)
    for _ in range(2):
        list(llm.stream_chat(user()))
        llm.chat(user(OTHER))
    assert len(inner.calls) == 4


def test_two_equal_streams_read_in_turns_by_one_reader_do_not_wait_for_each_other(
    clerk: Any, cache: SemanticCache
) -> None:
    llm = TokenwiseLLM(clerk("one two"), cache=cache)
    pairs = list(zip(llm.stream_chat(user()), llm.stream_chat(user()), strict=True))
    assert [first.delta == second.delta for first, second in pairs] == [True] * len(pairs)
    opened = llm.stream_chat(user(OTHER))
    assert llm.chat(user(OTHER)).message.content == "one two"
    list(opened)


async def test_two_equal_streams_of_one_task_do_not_wait_for_each_other(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk("one two"), cache=cache)
    first, second = await llm.astream_chat(user()), await llm.astream_chat(user())
    assert [c.delta async for c in first] == [c.delta async for c in second]


# Single flight (point 28) ---------------------------------------------------------------------------------------------


async def test_twenty_equal_calls_at_once_make_one_call_of_the_model(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(delay_s=0.05)
    llm = TokenwiseLLM(inner, cache=cache)
    responses = await asyncio.gather(*(llm.achat(user()) for _ in range(20)))
    assert len(inner.calls) == 1
    assert len({response.message.content for response in responses}) == 1
    assert len({id(response.message) for response in responses}) == 20
    assert cache.stats().hits == {"joined": 19}


async def test_twenty_equal_streams_at_once_make_one_call_of_the_model(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(delay_s=0.05)
    llm = TokenwiseLLM(inner, cache=cache)

    async def read() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(user())])

    said = await asyncio.gather(*(read() for _ in range(20)))
    assert len(inner.calls) == 1
    assert set(said) == {ANSWER}


async def test_where_the_one_call_fails_the_others_make_their_own(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(delay_s=0.02, errors=1)
    llm = TokenwiseLLM(inner, cache=cache)
    responses = await asyncio.gather(*(llm.achat(user()) for _ in range(5)), return_exceptions=True)
    assert [type(response) for response in responses].count(ConnectionError) == 1
    assert len(inner.calls) > 1


async def test_a_blocking_call_on_the_loop_does_not_wait_for_one_that_needs_the_loop(
    clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk(delay_s=0.02)
    llm = TokenwiseLLM(inner, cache=cache)
    awaited = asyncio.create_task(llm.achat(user()))
    while not inner.calls:  # noqa: ASYNC110  the model tells by its list alone
        await asyncio.sleep(0.001)
    assert llm.chat(user()).message.content == ANSWER  # it would wait for two minutes, and the other call with it
    assert (await awaited).message.content == ANSWER
    assert len(inner.calls) == 2


def test_twenty_threads_that_ask_the_same_make_one_call_of_the_model(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(delay_s=0.05)
    llm = TokenwiseLLM(inner, cache=cache)
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda _: llm.chat(user()).message.content, range(20)))
    assert set(said) == {ANSWER}
    assert len(inner.calls) == 1


# Copies (point 27) ----------------------------------------------------------------------------------------------------


def test_changing_an_answer_changes_neither_the_cache_nor_another_caller_s(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk("kept"), cache=cache)
    for _ in range(3):
        response = llm.chat(user())
        assert response.message.content == "kept"
        response.message.blocks = [TextBlock(text="spoilt")]
        response.additional_kwargs["spoilt"] = True


def test_a_reader_that_changes_chunks_changes_no_one_else_s(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk("one two"), cache=cache)
    for _ in range(3):
        said = ""
        for chunk in llm.stream_chat(user()):
            said += chunk.delta or ""
            chunk.message.blocks[:] = [TextBlock(text="spoilt")]
        assert said == "one two"
    assert llm.chat(user()).message.content == "one two"


def test_changing_the_messages_afterwards_does_not_change_what_was_asked(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    messages = user()
    list(llm.stream_chat(messages))
    messages[0].blocks.append(TextBlock(text="Current state: {}"))
    cache.flush()
    llm.chat(user())
    assert len(inner.calls) == 1


def test_a_hit_says_that_it_is_one_and_brings_no_usage(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    assert "tokenwise" not in llm.chat(user()).additional_kwargs
    hit = llm.chat(user())
    assert hit.additional_kwargs["tokenwise"]["cache"] == "exact"
    assert hit.additional_kwargs["tokenwise"]["saved_tokens"] == 120
    assert cache.explain(hit.additional_kwargs["tokenwise"]["hit_id"]) is not None
    assert "usage" not in hit.raw
    assert hit.message.additional_kwargs == {}  # OpenAI's integration sends these to the provider
    completed = [llm.complete(QUESTION) for _ in range(2)][1]
    assert completed.additional_kwargs["tokenwise"]["cache"] == "exact"


def test_an_image_in_an_answer_is_not_kept(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(lambda _m, _p: ChatMessage(role="assistant", blocks=[ImageBlock(image=b"png")]))
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat(user())
    llm.chat(user())
    assert len(inner.calls) == 2


def test_thoughts_come_back_without_the_ids_that_only_their_conversation_knows(
    clerk: Any, cache: SemanticCache
) -> None:
    thought = ThinkingBlock(content="Hm.", additional_information={"id": "rs_1", "signature": "s"})
    message = ChatMessage(role="assistant", blocks=[thought, TextBlock(text="Five.")])
    llm = TokenwiseLLM(clerk(lambda _m, _p: message), cache=cache)
    llm.chat(user())
    block = llm.chat(user()).message.blocks[0]
    assert isinstance(block, ThinkingBlock)
    assert (block.content, block.additional_information) == ("Hm.", {"signature": "s"})


# In the place of a model (point 23) -----------------------------------------------------------------------------------


def test_class(clerk: Any) -> None:
    assert {"LLM", "FunctionCallingLLM", "BaseLLM"} <= {kind.__name__ for kind in TokenwiseLLM.__mro__}
    llm = TokenwiseLLM(clerk())
    assert llm.class_name() == "TokenwiseLLM"
    assert llm.metadata == llm.inner.metadata
    assert llm.to_payload() == llm.inner.to_payload()
    assert _supports_tool_required(TokenwiseLLM, True)


def test_a_model_that_calls_no_functions_is_wrapped_too_and_says_so_when_it_should(cache: SemanticCache) -> None:
    llm = TokenwiseLLM(MockLLM(), cache=cache)
    assert isinstance(llm, FunctionCallingLLM)
    assert not llm.metadata.is_function_calling_model
    assert [llm.complete("hi").text, llm.complete("hi").text] == ["hi", "hi"]
    with pytest.raises(BadInput, match="calls no functions"):
        llm.chat_with_tools([], user_msg="hi")


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_a_wrapper_may_be_wrapped(call: Call, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(TokenwiseLLM(inner), cache=cache)
    assert call(llm, QUESTION) == call(llm, QUESTION)
    assert llm.predict(PromptTemplate("{query_str}"), query_str=QUESTION)
    assert len(inner.calls) == 2 - (call in CHATS)


def test_what_is_no_model_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="llm is a str"):
        TokenwiseLLM("gpt-5-mini")  # type: ignore[arg-type]


def test_what_is_no_cache_is_refused_at_once(clerk: Any) -> None:
    with pytest.raises(BadInput, match="SemanticCache"):
        TokenwiseLLM(clerk(), cache={})  # type: ignore[arg-type]


def test_the_prompt_fields_of_the_model_are_the_wrapper_s(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(system_prompt="Be brief.", pydantic_program_mode=PydanticProgramMode.LLM)
    llm = TokenwiseLLM(inner, cache=cache)
    assert llm.system_prompt == "Be brief."
    assert llm.pydantic_program_mode is PydanticProgramMode.LLM
    assert llm.messages_to_prompt is inner.messages_to_prompt
    assert llm.completion_to_prompt is inner.completion_to_prompt
    llm.predict(PromptTemplate("{query_str}"), query_str="hi")
    assert [message.content for message in inner.calls[0][0]] == ["Be brief.", "hi"]
    llm.system_prompt = "Be long."
    assert inner.system_prompt == "Be long."
    llm.predict(PromptTemplate("{query_str}"), query_str="hi")
    assert inner.calls[1][0][0].content == "Be long."


def test_a_callback_manager_set_on_either_is_set_on_both(clerk: Any) -> None:
    manager, other = CallbackManager([]), CallbackManager([])
    inner = clerk(callback_manager=manager)
    llm = TokenwiseLLM(inner)
    assert llm.callback_manager is manager
    llm.callback_manager = other
    assert inner.callback_manager is other


def test_it_is_the_model_of_the_settings(clerk: Any, cache: SemanticCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    inner = clerk()
    Settings.llm = TokenwiseLLM(inner, cache=cache)
    assert isinstance(Settings.llm, TokenwiseLLM)
    Settings.llm.complete("hi")
    assert len(inner.calls) == 1


def test_no_secret_of_the_model_stands_in_a_dump_a_repr_or_a_dict(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    for shown in (llm.model_dump_json(), repr(llm), str(llm), str(llm.to_dict())):
        assert "very-secret" not in shown


def test_pickle_and_deepcopy_bring_a_wrapper_that_works(cache: SemanticCache) -> None:
    llm = TokenwiseLLM(MockLLM(max_tokens=3), cache=cache)
    assert len(llm.complete("one two three four").text.split()) == 3
    cache.flush()
    copied = copy.deepcopy(llm)
    assert copied.cache is cache
    assert copied.inner is not llm.inner
    assert copied.complete("one two three four").additional_kwargs["tokenwise"]["cache"] == "exact"
    loaded = pickle.loads(pickle.dumps(llm))
    assert loaded.cache.ready()
    assert loaded.complete("one two three four").additional_kwargs["tokenwise"]["cache"] == "exact"
    loaded.cache.close()


def test_a_lever_of_the_user_s_own_stands_where_it_says_and_sees_every_call(clerk: Any, cache: SemanticCache) -> None:
    class Shorter:
        place, fails_closed = "compression", False

        def around(self, request: LLMCall) -> Course[LLMCall, LLMAnswer]:
            return (yield Proceed(replace(request, messages=user("short"))))

    inner = clerk()
    llm = TokenwiseLLM(inner, levers=[Shorter()], cache=cache)
    for _ in range(2):
        llm.chat(user("something long"))
    assert [messages[0].content for messages, _ in inner.calls] == ["short"]  # and the key was the user's own request


# Fail open ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CHATS + COMPLETIONS)
def test_a_cache_whose_parts_all_fail_changes_nothing(call: Call, clerk: Any, tmp_path: Path) -> None:
    class BrokenEmbedder(HashEmbedder):
        def embed(self, texts: Any) -> Any:
            raise RuntimeError

    cache = SemanticCache(shared=True, entries=f"sqlite:///{tmp_path}", embedder=BrokenEmbedder())  # a folder, no file
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert [call(llm, QUESTION) for _ in range(2)] == [call(clerk(), QUESTION)] * 2
    assert len(inner.calls) == 2
    assert cache.stats().failures
    cache.close()


def test_an_entry_that_cannot_be_read_back_is_a_miss(
    clerk: Any, cache: SemanticCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat(user())
    monkeypatch.setattr(answers, "FORMAT", answers.FORMAT + 1)  # a newer release wrote it
    assert llm.chat(user()).message.content == ANSWER
    assert len(inner.calls) == 2


# Embedders ------------------------------------------------------------------------------------------------------------


def test_an_embedding_of_llamaindex_is_the_cache_s_embedder(clerk: Any, new_cache: NewCache) -> None:
    cache = new_cache(embedder=LlamaIndexEmbedder(CoreEmbedding(HashEmbedder())))
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.chat(user())
    cache.flush()
    assert llm.chat(user(REPHRASED)).additional_kwargs["tokenwise"]["cache"] == "semantic"
    assert len(inner.calls) == 1


def test_an_embedding_that_finds_everything_alike_serves_nothing_wrong(clerk: Any, new_cache: NewCache) -> None:
    cache = new_cache(embedder=LlamaIndexEmbedder(MockEmbedding(8)))
    inner = clerk(lambda messages, _: messages[-1].content)
    llm = TokenwiseLLM(inner, cache=cache)
    for text in ("Refund order 17", "Refund order 18", "Do not refund order 17", OTHER):
        assert llm.chat(user(text)).message.content == text
        cache.flush()
