"""Who makes summaries: the application's own model behind what it was just sent, or any other chat model.

Either way the call is ours: booked under `tokenwise:summary`, and seen in no stream of the application's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseLanguageModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig

from tokenwise_core.flow import Ask
from tokenwise_core.scoping import scope
from tokenwise_langchain.blocks import read_content
from tokenwise_langchain.memory.worded import Template, worded

NAME = "tokenwise:summary"
_UNSEEN = "nostream"
"""LangGraph's tag for what its streams of messages leave out."""
_THINKING = ("reasoning", "reasoning_effort", "thinking", "thinking_budget", "effort")

LanguageModel = BaseLanguageModel[Any]
Model = Runnable[LanguageModelInput, Any]
Shown = Callable[[], Sequence[BaseMessage]]


class Summarizer:
    """Puts core's questions to *model*; behind *shown*, what it was last sent, where it is the application's own.

    *bound* is that model with the application's tools, without which the provider would not find the prefix in its
    cache. *prompt* asks in the application's words. An answer that calls tools is no summary.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        bound: Model | None = None,
        shown: Shown | None = None,
        prompt: Template | None = None,
    ) -> None:
        self._model, self._bound, self._shown, self._prompt = model, bound or model, shown, prompt

    def ask(self, ask: Ask) -> str:
        """Return the model's answer; raises what it raises."""
        model, messages = self._asked(ask)
        with _booked():
            return _text(model.invoke(messages, _config(ask)))

    async def aask(self, ask: Ask) -> str:
        """Do the same without blocking the event loop."""
        model, messages = self._asked(ask)
        with _booked():
            return _text(await model.ainvoke(messages, _config(ask)))

    def _asked(self, ask: Ask) -> tuple[Model, list[BaseMessage]]:
        limit = _limit(self._model, ask.max_tokens)
        if ask.instruction is not None and self._shown is not None:
            return _within(self._bound, limit), [*self._shown(), HumanMessage(ask.instruction)]
        if self._prompt is not None:
            return _within(self._model, limit), worded(self._prompt, ask.prompt)
        return _within(self._model, limit), [HumanMessage(ask.prompt)]


def _text(answer: AIMessage | str) -> str:
    if isinstance(answer, str):  # a string model's
        return answer
    return "" if answer.tool_calls or answer.invalid_tool_calls else read_content(answer.content)[0]


def _within(model: Model, limit: Mapping[str, int]) -> Model:
    return model.bind(**limit) if limit else model


def _limit(model: LanguageModel, tokens: int | None) -> dict[str, int]:
    """Return the parameter that bounds an answer, for a model known not to think: thoughts count, and leave no answer.

    Where nobody knows, the instruction alone says how long the summary is to be.
    """
    profile = getattr(model, "profile", None)
    if tokens is None or not profile or profile.get("reasoning_output"):
        return {}
    fields = getattr(type(model), "model_fields", {})
    if any(getattr(model, name, None) for name in _THINKING if name in fields):
        return {}
    name = next((name for name in ("max_tokens", "max_output_tokens") if name in fields), None)
    return {name: tokens} if name else {}


def _config(ask: Ask) -> RunnableConfig:
    return RunnableConfig(
        run_name=NAME,
        tags=[_UNSEEN],
        metadata={"lc_source": NAME, "tokenwise.purpose": ask.purpose, **_internal()},
    )


def _internal() -> dict[str, Any]:
    """Return the mark by which an agent's streams of events know a middleware's own call; none without `langchain`."""
    try:
        from langchain.agents.middleware.internal_call_transformer import internal_call_metadata
    except ModuleNotFoundError:
        return {}
    return internal_call_metadata()


@contextmanager
def _booked() -> Iterator[None]:
    with scope(agent=NAME):
        yield
