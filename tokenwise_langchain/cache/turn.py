"""One turn of a cached chain: what is served on a hit, what is kept of a run, for all ways to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.request import Hit
from tokenwise_core.cache.ticket import Ticket
from tokenwise_langchain.cache.messages import MARK, to_usage_metadata
from tokenwise_langchain.cache.outputs import (
    NOTHING,
    VERSION,
    Classes,
    NotStorable,
    decode,
    documents_in,
    encode,
    pieces_of,
    put_together,
    text_of,
)
from tokenwise_langchain.cache.overheard import Overheard
from tokenwise_langchain.cache.requests import facts_of
from tokenwise_langchain.cache.served import ServedModel, unbilled
from tokenwise_langchain.runs import Guard, with_facts

TagOf = Callable[[Document], str | Iterable[str] | None]


def document_tags(document: Document) -> tuple[str, ...]:
    """Return `doc:<id>` and `doc:<source>`, where it has them: stores give each chunk an id, people know the source."""
    names = (document.id, document.metadata.get("id"), document.metadata.get("source"))
    return tuple(dict.fromkeys(f"doc:{name}" for name in names if name is not None))


def tags_of(value: Any, tag_of: TagOf) -> Iterator[str]:
    """Yield the tags of all documents in an input or output."""
    for document in documents_in(value):
        tags = tag_of(document)
        yield from (tag for tag in ((tags,) if isinstance(tags, str) else tags or ()) if tag)


class Turn:
    """With a *replay*, run that and return its `answer`; without, run the chain under *config* inside of this as a
    context, and complete it. A turn that is not completed stores nothing.
    """

    def __init__(
        self,
        ticket: Ticket | None,
        *,
        config: RunnableConfig,
        classes: Classes,
        tag_of: TagOf,
        guard: Guard,
    ) -> None:
        self._ticket, self._classes, self._tag_of, self._guard = ticket, classes, tag_of, guard
        self._heard = Overheard()
        self.found: Any = NOTHING
        self.replay: ServedModel | None = None
        self.config = config
        if ticket is None:
            return
        if ticket.hit is not None:
            with guard("serve"):
                self.found = _decoded(ticket.hit, classes)
                self.replay = _replay(ticket.hit, self.found)
        if ticket.hit is None or self.replay is not None:
            self.config = with_facts(config, facts_of(ticket))
        callbacks = config.get("callbacks")
        if ticket.hit is None and isinstance(callbacks, BaseCallbackManager):  # made for this run alone
            callbacks.add_handler(self._heard, inherit=True)

    @property
    def question(self) -> list[BaseMessage]:
        """What a replay's run shows as its prompt."""
        messages = self._ticket.request.prompt.messages if self._ticket is not None else ()
        return [HumanMessage(messages[-1].text if messages else "")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticket is not None:
            self._ticket.abandon()

    def is_streamed(self) -> None:
        """Say that the output is read as a stream: equal calls wait for its reader a while only."""
        if self._ticket is not None:
            self._ticket.is_streamed()

    def complete(self, output: Any) -> None:
        """Store the chain's output, if it is whole and can be brought back."""
        ticket = self._ticket
        if ticket is None or ticket.hit is not None or output is NOTHING:
            return
        with self._guard("store"):
            try:
                encoded = encode(output, self._classes)
            except NotStorable as error:
                self._guard.told(str(error))
                return
            tags = tags_of(self._heard.documents, self._tag_of)
            ticket.complete(
                answer_of(output, encoded, made=self._heard.answered(), tags=(*tags, *tags_of(output, self._tag_of)))
            )

    def complete_stream(self, pieces: Sequence[Any]) -> None:
        """Store what the pieces of a stream make that came to its end."""
        with self._guard("put together"):
            self.complete(put_together(pieces))

    def answer(self, played: AIMessage) -> Any:
        """Return what was found; a message under the id of the replay's run, by which LangGraph knows that it has
        streamed it already.
        """
        return self.found.model_copy(update={"id": played.id}) if isinstance(self.found, AIMessage) else self.found

    def pieces(self, played: Sequence[AIMessageChunk], *, by_parts: bool) -> Iterator[Any]:
        """Yield what was found in pieces, a dict *by_parts* or whole; *played* are those of the replay's run."""
        if isinstance(self.found, AIMessage):
            return iter(played)
        return pieces_of(self.found) if by_parts or not isinstance(self.found, dict) else iter((self.found,))


def answer_of(output: Any, encoded: Any, *, made: CachedAnswer, tags: Iterable[str]) -> CachedAnswer:
    """Return a chain's output, *encoded*, as the cache keeps it; *made* is what is known of the answers behind it."""
    return replace(
        made,
        text=text_of(output, encoded),
        payload={"v": VERSION, "output": encoded},
        tool_calls=isinstance(output, AIMessage) and bool(output.tool_calls or output.invalid_tool_calls),
        tags=tuple(dict.fromkeys(tags)),
    )


def _decoded(hit: Hit, classes: Classes) -> Any:
    payload = hit.answer.payload
    if payload.get("v") != VERSION or "output" not in payload:
        raise NotStorable("written by another release")
    return decode(payload["output"], classes, hit.metadata())


def _replay(hit: Hit, found: Any) -> ServedModel:
    """Return a model whose run stands for the calls that the hit saves: with their usage, marked."""
    answer = hit.answer
    usage = to_usage_metadata(answer.usage)
    if isinstance(found, AIMessage):
        message = found.model_copy(update={"usage_metadata": usage or found.usage_metadata})
    else:
        metadata = {"model_name": answer.model, "model_provider": answer.provider, MARK: hit.metadata()}
        known = {name: value for name, value in metadata.items() if value is not None}
        message = AIMessage(content=answer.text, usage_metadata=usage, response_metadata=known)
    return ServedModel(message=unbilled(message), model_name=answer.model or "cached", provider=answer.provider)
