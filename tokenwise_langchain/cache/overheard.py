"""What is heard of the runs inside a chain: what they cost, whether each answer is whole, which documents were read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.outputs import LLMResult

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.gate import refused_answer
from tokenwise_core.usage.events import Usage
from tokenwise_langchain.cache.messages import to_cached
from tokenwise_langchain.cache.outputs import documents_in


class Overheard(BaseCallbackHandler):
    """Listens to one run of a chain, whose answer is only as whole as each of the answers in it."""

    run_inline = True

    def __init__(self) -> None:
        self._answers: list[CachedAnswer] = []
        self._documents: list[Document] = []
        self._lock = threading.Lock()

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Say that chat models are listened to: without this LangChain renders their messages as text."""

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Note an answer, and what it cost; one from a cache inside cost that once."""
        choices = [choice for choices in response.generations for choice in choices]
        answer = to_cached(choices, output=response.llm_output)
        with self._lock:
            self._answers.append(answer)

    def on_retriever_end(self, documents: Sequence[Document], **kwargs: Any) -> None:
        """Note what was found."""
        with self._lock:
            self._documents.extend(documents)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        """Note the documents that a step hands on: not every retriever is one of LangChain's."""
        self.on_retriever_end(list(documents_in(outputs)))

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        """Note the documents that a tool found."""
        self.on_retriever_end(list(documents_in(getattr(output, "artifact", output))))

    @property
    def documents(self) -> tuple[Document, ...]:
        """All documents that were retrieved."""
        with self._lock:
            return tuple(self._documents)

    def answered(self) -> CachedAnswer:
        """Return the models' answers as one: names and reason of the last, or of the first that is not whole."""
        with self._lock:
            answers = list(self._answers)
        worst = next((answer for answer in answers if answer.refusal or _is_cut(answer)), None)
        last = worst or (answers[-1] if answers else CachedAnswer(text=""))
        return CachedAnswer(
            text="",
            model=last.model,
            provider=last.provider,
            usage=_total([answer.usage for answer in answers if answer.usage is not None]),
            finish_reason=last.finish_reason,
            refusal=last.refusal,
        )


def _is_cut(answer: CachedAnswer) -> bool:
    return refused_answer(answer, tool_calls=True) not in (None, "empty")


def _total(usages: Sequence[Usage]) -> Usage | None:
    """Add up what several calls used; None where nobody said."""
    if not usages:
        return None
    counts: dict[str, Any] = {}
    for field in fields(Usage):
        values = [getattr(usage, field.name) for usage in usages]
        known = [value for value in values if type(value) is int]
        if known:
            counts[field.name] = sum(known)
    return Usage(**counts)
