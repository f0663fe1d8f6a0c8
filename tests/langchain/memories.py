"""What the tests of memory share: an eager memory, and a model that answers as an assistant or as a summariser."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from tokenwise_core.memory import BlockSummary, Memory, Rates, Recall

SUMMARY = "The customer's order is A-17."
FILLER = "There is a little more to be said about it, and then some more again. " * 3
LEXICAL = Recall(embedder=None)


def eager(**settings: Any) -> Memory:
    """A memory that cuts as soon as it may, and makes summaries before the answer is handed on."""
    rates = Rates(read=1.0, write=1.0, output=1.0)
    settings = {"rates": rates, "target_tokens": 400, "summaries": "after_answer", "recall": None, **settings}
    return Memory(BlockSummary(epsilon=1_000.0, summary_tokens=40), **settings)


def is_for_summary(messages: list[BaseMessage]) -> bool:
    return isinstance(messages[-1], HumanMessage) and "List the facts" in messages[-1].text


def answers(messages: list[BaseMessage]) -> str:
    """Answer as an assistant, or as a summariser where that is what is asked."""
    return SUMMARY if is_for_summary(messages) else f"Noted. {FILLER}"


def sent(model: Any) -> list[list[BaseMessage]]:
    """The application's own requests, as the model got them."""
    return [messages for messages in model._asked if not is_for_summary(messages)]


def asked(model: Any) -> list[list[BaseMessage]]:
    """The requests for summaries."""
    return [messages for messages in model._asked if is_for_summary(messages)]
