"""What the callbacks keep of a request and of a response, and how it is read later in the recorder's thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from tokenwise_core.cache.request import LEVER
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.normalize import normalize_usage, usage_from_response
from tokenwise_langchain.blocks import Fields
from tokenwise_langchain.convert import joined, snapshot, to_answer, to_prompt

_SESSION = ("thread_id", "session_id", "conversation_id")
_MODEL = ("model_name", "model", "model_id")
_USER = ("user_id", "user")
_OUR_TAGS = ("seq:step:", "map:key:", "branch:", "condition:", "graph:step:", "langsmith:", "fallback", "retry:")


class Request:
    """A model call as it began; `details()` reads it. *run_name* is for a call that was given no name of its own."""

    __slots__ = ("_messages", "_metadata", "_name", "_params", "_tags", "_templated", "_texts")

    def __init__(
        self,
        *,
        messages: Sequence[BaseMessage] = (),
        texts: Sequence[str] | None = None,
        metadata: Fields | None,
        extra: Fields,
        tags: Sequence[str] | None,
        templated: bool,
        run_name: str | None,
    ) -> None:
        self._messages = [snapshot(message) for message in messages]
        self._texts = None if texts is None else list(texts)
        self._metadata = dict(metadata) if metadata else {}
        self._params: Fields = extra.get("invocation_params") or {}  # a dict made for this call alone
        self._name: str | None = extra.get("name") or run_name
        self._tags = list(tags) if tags else []
        self._templated = templated

    def details(self) -> CallDetails:
        """Project the snapshot."""
        metadata, params = self._metadata, self._params
        provider = _text(metadata.get("ls_provider"))
        return CallDetails(
            prompt=self._prompt(provider),
            model=_text(metadata.get("ls_model_name") or params.get("model") or params.get("model_name")),
            provider=provider,
            scope=scope_of(metadata, self._tags),
            operation="chat" if self._texts is None else "completion",
            node=_text(metadata.get("langgraph_node")),
            run_name=self._name,
            templated=self._templated,
        )

    def _prompt(self, provider: str | None) -> Prompt:
        if self._texts is None:
            return to_prompt(self._messages, self._params, provider)
        messages = tuple(Message(role="user", text=text, index=i) for i, text in enumerate(self._texts))
        return Prompt(messages=messages, api="completion")


def put_together(pieces: Sequence[Any]) -> LLMResult:
    """Return the answer that the pieces of a stream make, as LangChain reports one that was broken off."""
    chat = [piece for piece in pieces if isinstance(piece, ChatGenerationChunk)]
    merged = merge_chat_generation_chunks(chat) if chat else reduce(add, pieces)
    return LLMResult(generations=[[merged]] if merged else [[]])


def scope_of(metadata: Fields, tags: Sequence[str] = ()) -> Scope:
    """Return what LangChain and LangGraph know of whose call this is."""
    labels = {tag: "true" for tag in tags if not tag.startswith(_OUR_TAGS)}
    if metadata.get("lc_source"):
        labels["lc_source"] = str(metadata["lc_source"])
    return Scope(
        session=_first(metadata, _SESSION),
        user=_first(metadata, _USER),
        agent=_text(metadata.get("lc_agent_name")),
        labels=labels,
    )


class Reply:
    """A response as it came in, whole or broken off; `answered()` reads it."""

    __slots__ = ("_choices", "_error", "_output", "shares_response")

    def __init__(self, response: LLMResult | None, error: BaseException | None = None) -> None:
        self._choices = list(_choices(response))
        self._output: Fields = dict(response.llm_output) if response is not None and response.llm_output else {}
        self._error = _attached(error)
        self.shares_response = False  # set by the handler: an earlier reply of the same batch holds the usage

    @property
    def usage_beside(self) -> Fields | None:
        """The usage that stands beside the answers, as older integrations report it; empty where a batch shares one."""
        usage = self._output.get("token_usage")
        return usage if isinstance(usage, Mapping) else None

    @property
    def is_cache_hit(self) -> bool:
        """Say whether no provider was asked: LangChain's mark (a total cost of zero), or that of our own caches."""
        for fields, _ in self._choices:
            usage = fields.get("usage_metadata")
            if usage and "total_cost" in usage and not usage["total_cost"]:
                return True
        return self._our_hit() is not None

    def _our_hit(self) -> str | None:
        """Return the kind of hit where one of our own caches served this; it marks what it serves."""
        for fields, _ in self._choices:
            ours = (fields.get("response_metadata") or {}).get("tokenwise")
            if isinstance(ours, Mapping) and ours.get("cache"):
                return str(ours["cache"])
        return None

    def answered(self) -> Answered:
        """Project the snapshot."""
        metadata = self._metadata()
        kind = self._our_hit()
        return Answered(
            answer=self._answer(),
            usage=self._usage(metadata),
            response_model=_first(metadata, _MODEL) or _first(self._output, _MODEL),
            response_id=_first(metadata, ("id", "response_id")),
            **({"lever": LEVER, "saving_reason": kind} if kind else {}),
        )

    def _metadata(self) -> Fields:
        """Return what is said of the response beside its text; of a failed one, the body that the error carries."""
        merged: dict[str, Any] = {}
        for fields, _ in self._choices:
            metadata = fields.get("response_metadata") or {}
            body = metadata.get("body")
            merged.update(body if isinstance(body, Mapping) else metadata)
        return merged

    def _usage(self, metadata: Fields) -> Usage | None:
        """Return the first usage that anything reports: each of several choices carries that of the whole response."""
        provider = _text(metadata.get("model_provider"))
        for fields, _ in self._choices:
            reported = fields.get("usage_metadata")
            if reported and any(name != "total_cost" for name in reported):
                return normalize_usage(provider or "langchain", reported)
        if self.usage_beside:
            return normalize_usage(provider, self.usage_beside)
        if self.shares_response:
            return Usage(input_tokens=0, output_tokens=0)
        return usage_from_response(metadata, provider=provider) or usage_from_response(self._error, provider=provider)

    def _answer(self) -> Answer:
        return joined([to_answer(fields, info) for fields, info in self._choices]) if self._choices else Answer()


def _choices(response: LLMResult | None) -> Iterator[tuple[dict[str, Any], Fields | None]]:
    """Yield a snapshot of each choice: the message's fields, or for string models the text alone."""
    for choices in response.generations if response is not None else ():
        for choice in choices:
            message = getattr(choice, "message", None)
            fields: dict[str, Any] = {"content": choice.text} if message is None else snapshot(message)
            if fields.get("usage_metadata"):
                fields["usage_metadata"] = dict(fields["usage_metadata"])
            yield fields, choice.generation_info


def _attached(error: BaseException | None) -> object | None:
    """Return the answer that an error brings along (OpenAI's `LengthFinishReasonError.completion`)."""
    return getattr(error, "completion", None) if error is not None else None


def _first(metadata: Fields, names: Sequence[str]) -> str | None:
    return next((str(metadata[name]) for name in names if metadata.get(name) not in (None, "")), None)


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)
