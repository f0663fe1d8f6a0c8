"""Who makes summaries: a LlamaIndex model, asked as one of ours, so that no lever takes its call for the user's."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.llm import LLM

from tokenwise_core.flow import Ask
from tokenwise_core.scoping import scope
from tokenwise_llamaindex.convert import provider_of

NAME = "tokenwise:{}"
"""The agent that our own calls are booked under: `tokenwise:summary`."""
_BOUNDED = frozenset(
    ("openai", "azure", "anthropic", "groq", "deepseek", "together", "fireworks", "mistralai", "openrouter")
)
"""Providers whose integrations take `max_tokens` as a parameter of a call; others take it for something else."""
_THINKING = re.compile(r"^(?:o\d|gpt-5)|reason|think|r1\b", re.IGNORECASE)
"""Models whose thoughts count into `max_tokens`: bounded, they may end before they have said a word."""

_ours: ContextVar[bool] = ContextVar("tokenwise_llamaindex_ours", default=False)


def is_ours() -> bool:
    """Say whether the call that is made here is one of ours."""
    return _ours.get()


@contextmanager
def as_ours(purpose: str) -> Generator[None, None, None]:
    """Book the calls inside as ours, for *purpose*."""
    token = _ours.set(True)
    try:
        with scope(agent=NAME.format(purpose)):
            yield
    finally:
        _ours.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Puts questions to *llm*: by themselves, or behind the conversation as it was *sent* with *params*.

    The prefix of the latter is in the provider's cache. Where the answer's form is prescribed, or a tool must be
    called, the question is put by itself all the same.
    """

    llm: LLM
    sent: Sequence[ChatMessage] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, question: Ask) -> str:
        """Return the answer's text."""
        messages, params = self._request(question)
        with as_ours(question.purpose):
            return said(self.llm.chat(messages, **params))

    async def aask(self, question: Ask) -> str:
        """Return the answer's text, awaited."""
        messages, params = self._request(question)
        with as_ours(question.purpose):
            return said(await self.llm.achat(messages, **params))

    def _request(self, question: Ask) -> tuple[list[ChatMessage], dict[str, Any]]:
        limits = bound(self.llm, question)
        if question.instruction is None or not self.sent or not is_free(self.params):
            return [ChatMessage(role=MessageRole.USER, content=question.prompt)], limits
        asked = ChatMessage(role=MessageRole.USER, content=question.instruction)
        return [*self.sent, asked], {**self.params, **limits}


def followed(sent: Sequence[ChatMessage], answer: ChatMessage | None) -> Sequence[ChatMessage]:
    """Return the conversation with its answer: some models insist that user and assistant take turns.

    One that calls tools is left off: its results are not there yet.
    """
    if answer is None or answer.role is not MessageRole.ASSISTANT or not answer.content or _calls(answer):
        return sent
    return [*sent, answer]


def _calls(message: ChatMessage) -> bool:
    wired = message.additional_kwargs.get("tool_calls")
    return bool(wired) or any(isinstance(block, ToolCallBlock) for block in message.blocks)


def said(response: ChatResponse) -> str:
    """Return the text of an answer; one that calls tools has none."""
    return "" if _calls(response.message) else response.message.content or ""


def bound(llm: LLM, question: Ask) -> dict[str, int]:
    """Return the parameter that bounds the answer, where *llm* is known to take it as such.

    Elsewhere the question's own words bound it, and what is longer is cut.
    """
    name = llm.class_name()
    settings = llm.__dict__
    thinks = settings.get("thinking_dict") or settings.get("reasoning_effort")
    if question.max_tokens is None or thinks or _THINKING.search(llm.metadata.model_name):
        return {}
    if provider_of(name) not in _BOUNDED or "responses" in name.lower():
        return {}
    return {"max_tokens": question.max_tokens}


def is_free(params: Mapping[str, Any]) -> bool:
    """Say whether a model that is sent *params* may answer in plain words."""
    if params.get("response_format") or params.get("text_format"):
        return False
    return params.get("tool_choice") in (None, "auto", "none") or not params.get("tools")
