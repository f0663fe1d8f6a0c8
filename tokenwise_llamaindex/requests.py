"""A model call as it was asked for, and what was known around it; projected for core in the recorder's thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

from tokenwise_core.cache.request import LEVER, Hit
from tokenwise_core.messages import Api, Message, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.call import Answered, CallDetails, Known
from tokenwise_core.usage.components import Component
from tokenwise_llamaindex.convert import api_of, provider_of, to_answered, to_prompt
from tokenwise_llamaindex.snapshots import Reply, Snapshot
from tokenwise_llamaindex.templates import Filled, read_back

UUID_CHARS = 37  # a span's id is its name, a dash and a uuid
MAX_WRITTEN = 4096
LEAST_CHARS = 24


def span_name(span: str) -> str:
    """Return the name in a span's id: `MockLLM.chat`."""
    return span[:-UUID_CHARS]


class Written:
    """What models wrote lately, as hashes: where it comes back in a system message or as context, it is a summary.

    Neither LlamaIndex's `ChatSummaryMemoryBuffer` nor its `TreeSummarize` marks what it had summarised. Used in the
    recorder's thread alone.
    """

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def add(self, text: str) -> None:
        """Remember an answer; short ones would be recognised by chance."""
        if len(text) >= LEAST_CHARS:
            self._digests[_digest(text)] = None
            if len(self._digests) > MAX_WRITTEN:
                self._digests.popitem(last=False)

    def recognised(self, prompt: Prompt, known: tuple[Known, ...]) -> tuple[Known, ...]:
        """Return *known* with what models wrote as summaries: system messages, and texts given as context."""
        if not self._digests:
            return known
        texts = (message.text for message in prompt.messages if message.role in ("system", "developer"))
        summaries = [Known(component=Component.SUMMARY, text=text) for text in texts if self._all_of(text)]
        return (*summaries, *(self._sorted(entry) for entry in known))

    def _sorted(self, entry: Known) -> Known:
        if entry.component is Component.RETRIEVED_CONTEXT and self._all_of(entry.text):
            return replace(entry, component=Component.SUMMARY)
        return entry

    def _all_of(self, text: str) -> bool:
        """Say whether *text* is answers, one after the other, with empty lines between."""
        pending: list[str] = []
        for paragraph in text.strip().split("\n\n"):
            pending.append(paragraph)
            if _digest("\n\n".join(pending)) in self._digests:
                pending = []
        return not pending and bool(text)


def _digest(text: str) -> bytes:
    return blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What a span tells about the model calls under it.

    *engine* marks a chat engine, *condense* is the template with which it makes a question stand alone.
    """

    agent: str | None = None
    node: str | None = None
    filled: Filled | None = None
    engine: bool = False
    condense: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """A model call under way: copies only, but for the last chunk of its stream and what the provider sent first.

    *run* is its id in the meter, *above* the spans and calls that it hangs under, nearest first, *facts* what those
    tell. *plain* is one text instead of messages; *flattens* is the chat that a plain prompt was written out from.
    *shadows* is the call that was open in the same span, *written* what models wrote before.
    """

    span: str
    run: str
    messages: list[Snapshot]
    params: Mapping[str, Any]
    model: Mapping[str, Any]
    plain: bool
    run_id: str | None = None
    above: tuple[Hashable, ...] = ()
    facts: tuple[Fact, ...] = ()
    flattens: Request | None = None
    shadows: Request | None = None
    began: object = None
    last: ChatResponse | CompletionResponse | None = None
    written: Written | None = None

    @property
    def asked(self) -> str:
        """The last text of the prompt."""
        blocks = self.messages[-1].blocks if self.messages else ()
        return next((block for block in reversed(blocks) if isinstance(block, str)), "")

    @property
    def class_name(self) -> str:
        """The integration, by its `class_name()`."""
        return _text(self.model.get("class_name")) or ""

    @property
    def provider(self) -> str | None:
        """The provider: as the integration says, else as its name tells."""
        return _text(self.model.get("provider")) or provider_of(self.class_name)

    def is_advanced_by(self, inner: Request) -> bool:
        """Say whether *inner* is this very call, made on by the generator that this one handed out."""
        if span_name(self.span).rpartition(".")[2] == span_name(inner.span).rpartition(".")[2]:
            return False
        return self.asked in inner.asked if self.asked else not inner.asked

    def details(self) -> CallDetails:
        """Project the call into what core counts."""
        shown = self.flattens or self  # a chat written out as one text is attributed by its messages
        facts = self.facts
        template = next((fact.filled for fact in facts if fact.filled), None)
        engine = next((fact for fact in facts if fact.engine), None)
        condensed = () if template else self._condensed(engine)
        prompt = to_prompt(shown.messages, {**shown.params, **self.params}, api=self._api())
        known = template.known() if template else condensed
        return CallDetails(
            prompt=prompt,
            model=model_name(self.model),
            provider=self.provider,
            scope=Scope(trace=self.run_id, agent=next((fact.agent for fact in facts if fact.agent), None)),
            node=next((fact.node for fact in facts if fact.node), None),
            run_name=span_name(str(self.above[-1])) if self.above else None,
            known=self.written.recognised(prompt, known) if self.written is not None else known,
            templated=bool(condensed) or (template is not None and not (engine is not None and template.is_chat)),
        )

    def answered(self, reply: Reply) -> Answered:
        """Project the answer, and remember that a model wrote it."""
        answered = to_answered(reply, self.provider)
        if self.written is not None:
            self.written.add(answered.answer.text)
        return answered

    def served(self, reply: Reply, hit: Hit) -> Answered:
        """Project the answer of a cache's hit: its usage is what the call that made it had cost."""
        return replace(
            self.answered(reply),
            usage=hit.answer.usage,
            response_model=hit.answer.model,
            lever=LEVER,
            saving_reason=hit.kind,
        )

    def _api(self) -> Api:
        if self.plain and not self.model.get("is_chat_model", True):
            return "completion"
        return api_of(self.class_name)

    def _condensed(self, engine: Fact | None) -> tuple[Known, ...]:
        """Read back the prompt with which a chat engine makes a question stand alone: no event tells of it."""
        if engine is None or engine.condense is None or not self.plain:
            return ()
        return read_back(engine.condense, self.asked)


@dataclass(slots=True, kw_only=True, eq=False)
class Batch:
    """Texts that are being embedded; they are told only when it is done."""

    run: str
    model: Mapping[str, Any]
    run_id: str | None = None
    texts: tuple[str, ...] = ()

    def details(self) -> CallDetails:
        """Project the batch into what core counts."""
        messages = tuple(Message(role="user", text=text, index=index) for index, text in enumerate(self.texts))
        return CallDetails(
            prompt=Prompt(messages=messages),
            model=model_name(self.model),
            provider=provider_of(_text(self.model.get("class_name")) or ""),
            scope=Scope(trace=self.run_id),
            operation="embedding",
        )


def model_name(model: Mapping[str, Any]) -> str | None:
    """Return the model's name as its integration gives it."""
    name = _text(model.get("model_name")) or _text(model.get("model"))
    return None if name == "unknown" else name


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
