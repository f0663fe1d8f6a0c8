"""Fill a cache with answers that are there already: under the keys that the real calls will have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, TypeGuard

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, MessageRole
from llama_index.core.prompts import BasePromptTemplate
from typing_extensions import override

from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_llamaindex.calls import LLMAnswer, LLMCall, Response
from tokenwise_llamaindex.recent import Recent

if TYPE_CHECKING:
    from tokenwise_llamaindex.llm import TokenwiseLLM

Asking = str | Sequence[ChatMessage] | tuple[BasePromptTemplate, Mapping[str, Any]]
"""What a model is asked: a text (`complete`), messages (`chat`), a template and its variables (`predict`)."""
Answer = str | ChatMessage | ChatResponse | CompletionResponse

_PAIR = 2
_OWN_ROLES = frozenset((MessageRole.ASSISTANT, MessageRole.CHATBOT, MessageRole.MODEL))


class Dictated(Recent):
    """A model that answers what it is told to, and remembers the call that reached it.

    The wrapper's own code makes that call, hence its key is that of the real one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._dictated: Answer = ""
        self._heard: list[tuple[LLMCall, LLMAnswer]] = []

    def exchange(
        self, llm: TokenwiseLLM, asked: Asking, answer: Answer, params: Mapping[str, Any]
    ) -> tuple[LLMCall, LLMAnswer]:
        """Return the call that *llm*, which has this model at its end, makes of what is asked, and its answer."""
        self._dictated, self._heard = answer, []
        if isinstance(asked, str):
            llm.complete(asked, **params)
        elif _is_filled(asked):
            _predict(llm, *asked)
        elif _are_messages(asked):
            llm.chat(asked, **params)
        else:
            raise BadInput(
                f"asked is {_kind(asked)}: give a text, a list of ChatMessage, or (template, {{variable: value}})"
            )
        return self._heard[-1]

    @override
    def call(self, request: LLMCall) -> LLMAnswer:
        said = LLMAnswer(response=_response(self._dictated, request))
        self._heard.append((request, said))
        return said


def warmed(
    cache: SemanticCache,
    pairs: Iterable[Any],
    entry: Callable[[Any, Any], tuple[CacheRequest, CachedAnswer]],
    *,
    progress: bool | None,
    total: int | None,
) -> int:
    """Store what *entry* makes of each of *pairs*, with a progress bar in a terminal; return how many."""
    if not isinstance(pairs, Iterable):
        raise BadInput(f"pairs is {_kind(pairs)}: give a list of (question, answer)")
    hint = length_hint(pairs, 0) if total is None else total
    return cache.warm(_entries(pairs, entry), progress=progress, total=hint or None)


def _entries(
    pairs: Iterable[Any], entry: Callable[[Any, Any], tuple[CacheRequest, CachedAnswer]]
) -> Iterator[tuple[CacheRequest, CachedAnswer]]:
    for number, pair in enumerate(pairs, 1):
        if not isinstance(pair, tuple | list) or len(pair) != _PAIR:
            raise BadInput(f"pair {number:,} is {_kind(pair)}: give (question, answer)")
        try:
            made = entry(*pair)
        except BadInput as error:
            raise BadInput(f"pair {number:,}: {error}") from error
        yield made


def _is_filled(asked: object) -> TypeGuard[tuple[BasePromptTemplate, Mapping[str, Any]]]:
    if not isinstance(asked, tuple) or len(asked) != _PAIR:
        return False
    return isinstance(asked[0], BasePromptTemplate) and isinstance(asked[1], Mapping)


def _are_messages(asked: object) -> TypeGuard[Sequence[ChatMessage]]:
    return isinstance(asked, Sequence) and bool(asked) and all(isinstance(one, ChatMessage) for one in asked)


def _predict(llm: TokenwiseLLM, template: BasePromptTemplate, variables: Mapping[str, Any]) -> None:
    try:
        llm.predict(template, **variables)
    except BadInput:
        raise
    except ValueError as error:  # as output parsers raise
        raise BadInput(f"the model's output parser cannot read the answer ({error})") from error


def _response(answer: object, call: LLMCall) -> Response:
    """Return an answer as the response that the call would have got."""
    if isinstance(answer, str) and not answer.strip():
        raise BadInput("the answer is blank")
    if call.prompt is not None:
        if isinstance(answer, str | CompletionResponse):
            return CompletionResponse(text=answer) if isinstance(answer, str) else answer
        raise BadInput(f"the answer is {_kind(answer)}: a prompt is completed by a text or a CompletionResponse")
    if isinstance(answer, str):
        answer = ChatMessage(role=MessageRole.ASSISTANT, content=answer)
    if isinstance(answer, ChatMessage):
        answer = ChatResponse(message=answer)
    if not isinstance(answer, ChatResponse):
        raise BadInput(f"the answer is {_kind(answer)}: messages are answered by a text, ChatMessage or ChatResponse")
    if answer.message.role not in _OWN_ROLES:
        raise BadInput(f"the answer is a message of role {answer.message.role.value!r}: give one of the assistant")
    return answer


def _kind(given: object) -> str:
    name = type(given).__name__
    size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}{size}"
