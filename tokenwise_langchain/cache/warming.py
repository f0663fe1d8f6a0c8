"""Questions and answers that somebody has, in LangChain's objects: what the `warm` of each cache is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any

from langchain_core.language_models import BaseLLM
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, get_buffer_string
from langchain_core.messages.utils import convert_to_messages, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.prompt_values import PromptValue

from tokenwise_core.errors import BadInput
from tokenwise_langchain.cache.calling import read_llm_string, unbound
from tokenwise_langchain.cache.parameters import Called, called


class KnownPair:
    """One pair of those that were given: names its number where it cannot be used."""

    def __init__(self, number: int, given: Any) -> None:
        self.number = number
        if isinstance(given, str) or not isinstance(given, tuple | list) or len(given) != 2:
            raise self.refused(f"{_shown(given)} is no pair: give (question, answer)")
        self.question, self.answer = given

    def refused(self, reason: str) -> BadInput:
        """Return the error that says which pair cannot be used, and why."""
        return BadInput(f"pair {self.number}: {reason}")

    def messages(self) -> list[BaseMessage]:
        """Return the question as the messages that a chat model is asked with."""
        asked = self.question
        if isinstance(asked, Mapping) and "messages" in asked:  # an agent's input
            asked = asked["messages"]
        try:
            messages = _messages(asked)
        except (ValueError, TypeError, KeyError, NotImplementedError):
            messages = []
        if not messages:
            raise self.refused(f"{_shown(asked)} asks nothing: give a text, messages, or a prompt's value")
        return messages

    def text(self) -> str:
        """Return the question as the text that a string model is asked with."""
        asked = self.question
        if isinstance(asked, str | PromptValue):
            return asked if isinstance(asked, str) else asked.to_string()
        return get_buffer_string(self.messages())

    def choice(self) -> ChatGeneration:
        """Return the answer as a chat model gives it."""
        answer = self.answer
        if isinstance(answer, ChatGeneration):
            return answer
        if isinstance(answer, AIMessage):
            whole = message_chunk_to_message(answer) if isinstance(answer, AIMessageChunk) else answer
            return ChatGeneration(message=whole)
        if isinstance(answer, str):
            return ChatGeneration(message=AIMessage(answer))
        if isinstance(answer, Generation):
            return ChatGeneration(message=AIMessage(answer.text), generation_info=answer.generation_info)
        raise self.refused(f"{_shown(answer)} is no answer: give a text, an AIMessage, or a Generation")

    def written(self) -> Generation:
        """Return the answer as a string model gives it."""
        choice = self.choice()
        return Generation(text=choice.text, generation_info=choice.generation_info)


def known_pairs(pairs: Iterable[Any]) -> Iterator[KnownPair]:
    """Yield what stands in *pairs*, one by one; `BadInput` at the first that is none."""
    for number, given in enumerate(pairs, 1):
        yield KnownPair(number, given)


def checked_pairs(pairs: Any) -> Iterable[Any]:
    """Return *pairs*; `BadInput` for what can hold none."""
    if isinstance(pairs, str | Mapping) or not isinstance(pairs, Iterable):
        raise BadInput(f"pairs is {_shown(pairs)}: give (question, answer) pairs, such as a dict's `items()`")
    return pairs


def how_many(pairs: Iterable[Any], total: int | None) -> int | None:
    """Return *total*, else how many *pairs* say that they are: what a progress bar goes by."""
    return total if total is not None else length_hint(pairs, 0) or None


class Asker:
    """A model as its caller calls it: what LangChain's cache is handed for each prompt."""

    def __init__(self, llm: Any) -> None:
        self.is_chat = not isinstance(llm, BaseLLM)
        self.call: Called = _chat_call(llm) if self.is_chat else _string_call(llm)

    def prompt(self, pair: KnownPair) -> str:
        """Return the question as the cache will be handed it."""
        return dumps(pair.messages()) if self.is_chat else pair.text()

    def answers(self, pair: KnownPair) -> list[Generation]:
        """Return the answer as the model would have given it."""
        return [pair.choice() if self.is_chat else pair.written()]


def _chat_call(llm: Any) -> Called:
    try:
        model, params = unbound(llm)
    except AttributeError:
        raise BadInput(
            f"llm is {_shown(llm)}: give the model whose cache this is, or what is made of it by `bind` and "
            "`bind_tools`: its settings are part of what is looked up"
        ) from None
    return called(model, {"stop": None, **params})


def _string_call(llm: BaseLLM) -> Called:
    settings = llm._dict_for_compat() if hasattr(llm, "_dict_for_compat") else llm.dict()  # noqa: SLF001  as `generate`
    return read_llm_string(str(sorted({**settings, "stop": None}.items())))


def _messages(asked: Any) -> list[BaseMessage]:
    if isinstance(asked, PromptValue):
        return asked.to_messages()
    if isinstance(asked, BaseMessage):
        return [asked]
    if isinstance(asked, str):
        return [HumanMessage(asked)] if asked.strip() else []
    return [] if isinstance(asked, Mapping) else convert_to_messages(asked)  # which would take its names for texts


def _shown(value: Any) -> str:
    """Return a value's kind; its text is somebody's."""
    return f"a {type(value).__name__}"
