"""The adapters' hooks and the frameworks' own memories, one turn at a time, to be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, trim_messages
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from llama_index.core.utils import get_tokenizer

from benchmarks import memory_peers_langchain as langchain
from benchmarks import memory_peers_llamaindex as llamaindex
from benchmarks.memory_latency import SUMMARY, Core, Timed, calmest_ms, times_ms
from tokenwise_core.memory import Memory, Recall
from tokenwise_core.messages import Message

TARGET_TOKENS = 8_000
_PATIENT_MS = 60_000
_UNREACHED_TOKENS = 10**9


# The adapters' share --------------------------------------------------------------------------------------------------


def shares(messages: Sequence[Message], recall: Recall, span: tuple[int, int]) -> dict[str, tuple[float, str]]:
    """Return what each adapter's hook takes beyond core's own time, in µs a known message, and how it was measured.

    *span* are the turns that are measured, around 5,000 messages; the conversation grows to them turn by turn.
    """
    alone = _median_ms(Core(recall), messages, span)
    made, anew = Middleware(recall, messages), Middleware(recall, messages, is_read_anew=True)
    same = _us(_median_ms(made, messages, span), alone)
    found = {
        "latency.adapter_langchain_us": _share(
            _median_ms(anew, messages, span),
            alone,
            f"messages that a checkpointer has read anew; {same:.2f} where they are the same objects",
        ),
        "latency.adapter_llamaindex_us": _share(
            _median_ms(Buffer(recall), messages, span), alone, "an answer and a question put, then get; store in memory"
        ),
    }
    assert not made.middleware.errors + anew.middleware.errors
    return found | _shown(messages, recall, span)


def _shown(messages: Sequence[Message], recall: Recall, span: tuple[int, int]) -> dict[str, tuple[float, str]]:
    """Return the same for who hands out copies, where nothing is cut: in µs a shown message."""
    core = Core(recall)
    core.memory = _uncut(recall)
    alone, how = _late_ms(core, messages, span), "nothing is cut, all are shown; messages put, then {}; store in memory"
    return {
        "latency.shown_langchain_us": _share(
            _late_ms(History(_uncut(recall)), messages, span), alone, how.format("a history's messages read")
        ),
        "latency.shown_llamaindex_us": _share(
            _late_ms(Buffer(recall, _uncut(recall)), messages, span), alone, how.format("get")
        ),
    }


def _uncut(recall: Recall) -> Memory:
    return Memory(recall=recall, deadline_ms=_PATIENT_MS, target_tokens=_UNREACHED_TOKENS)


def _late_ms(made: Timed, messages: Sequence[Message], span: tuple[int, int]) -> float:
    """Return what `_median_ms` does, of a conversation that is taken up where the measured turns begin."""
    first, last = span
    made.turn(messages[: 2 * first])
    made.settle()
    return calmest_ms(times_ms(made, messages[2 * first :], first=1, last=last - first))


def _share(whole: float, alone: float, how: str) -> tuple[float, str]:
    return _us(whole, alone), f"median CPU time {whole:.2f} ms a turn at 5,000 messages, core's {alone:.2f}; {how}"


def _us(whole: float, alone: float) -> float:
    return (whole - alone) * 1e3 / 5_000


def _median_ms(made: Timed, messages: Sequence[Message], span: tuple[int, int]) -> float:
    """Return the median CPU time of a turn, in the calmest of five blocks."""
    return calmest_ms(times_ms(made, messages, first=span[0], last=span[1]))


class Middleware:
    """`SummaryBufferMiddleware`, called as an agent calls it; *is_read_anew*: with what a checkpointer has read."""

    def __init__(self, recall: Recall, messages: Sequence[Message], *, is_read_anew: bool = False) -> None:
        from tokenwise_langchain.memory import SummaryBufferMiddleware

        self.memory = Memory(recall=recall, deadline_ms=_PATIENT_MS)
        self.middleware = SummaryBufferMiddleware(self.memory, session="talk")
        self._model = langchain.Summariser(answer=lambda texts: SUMMARY)
        self._all: list[Any] = [_with_id(langchain.to_langchain(message), at) for at, message in enumerate(messages)]
        serde = JsonPlusSerializer()
        self._known = serde.loads_typed(serde.dumps_typed(self._all)) if is_read_anew else self._all
        self._length = 0
        self._state: dict[str, Any] = {}

    def turn(self, new: Sequence[Message]) -> None:
        before, self._length = self._length, self._length + len(new)
        messages = self._known[:before] + self._all[before : self._length]
        state: Any = {"messages": messages, **self._state}
        request = ModelRequest(model=self._model, messages=messages, state=state)
        response: Any = self.middleware.wrap_model_call(request, lambda _: ModelResponse(result=[AIMessage("yes")]))
        self._state = response.command.update

    def settle(self) -> None:
        self.memory.drain()


def _with_id(message: Any, at: int) -> Any:
    message.id = f"id-{at}"
    return message


class Buffer:
    """`SummaryBufferMemory`: put what is new, get what is sent."""

    def __init__(self, recall: Recall, memory: Memory | None = None) -> None:
        from tokenwise_llamaindex.memory import SummaryBufferMemory

        self._core = memory or Memory(recall=recall, deadline_ms=_PATIENT_MS)
        llm = llamaindex.Summariser(answer=lambda texts: SUMMARY)
        self._memory = SummaryBufferMemory.from_defaults(llm=llm, memory=self._core)

    def turn(self, new: Sequence[Message]) -> None:
        self._memory.put_messages([llamaindex.to_llamaindex(message) for message in new])
        self._memory.get()

    def settle(self) -> None:
        self._core.drain()


class History:
    """`SummaryBufferHistory`: add what is new, read what is sent."""

    def __init__(self, memory: Memory) -> None:
        from tokenwise_langchain.memory import SummaryBufferHistory

        self._memory, self._history = memory, SummaryBufferHistory("talk", memory)

    def turn(self, new: Sequence[Message]) -> object:
        self._history.add_messages([langchain.to_langchain(message) for message in new])
        return self._history.messages

    def settle(self) -> None:
        self._memory.drain()


# The frameworks' own --------------------------------------------------------------------------------------------------


def peers(fixed: int) -> dict[str, Callable[[], Timed]]:
    """Return the frameworks' memories, counting tokens as they do: by a tokeniser, each time anew, or by length."""
    limit = TARGET_TOKENS - fixed
    made: dict[str, Callable[[], Timed]] = {
        "trim_messages": lambda: Trim(limit, _tokens_of),
        "trim_messages (approximate)": lambda: Trim(limit, "approximate"),
        "SummarizationMiddleware (approximate)": lambda: Peer(Approximate(limit, _summary)),
        "ChatSummaryMemoryBuffer": lambda: Peer(_counting(llamaindex.SummaryMemory(limit, _summary))),
        "LlamaIndex Memory": lambda: Peer(_counting(llamaindex.Queue(limit, _summary))),
    }
    if langchain.has_classic():
        made["ConversationSummaryBufferMemory"] = lambda: Peer(_classic(limit))
    return made


class Peer:
    """A framework's memory as the replays drive it."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def turn(self, new: Sequence[Message]) -> object:
        return self._made.request(new)

    def settle(self) -> None: ...

    def close(self) -> None:
        getattr(self._made, "close", int)()


class Trim:
    """`trim_messages`, over all messages each time."""

    def __init__(self, limit: int, counter: Any) -> None:
        self._limit, self._counter = limit, counter
        self._messages: list[Any] = []

    def turn(self, new: Sequence[Message]) -> object:
        self._messages += map(langchain.to_langchain, new)
        return trim_messages(
            self._messages, max_tokens=self._limit, token_counter=self._counter, strategy="last", start_on="human"
        )

    def settle(self) -> None: ...


class Approximate(langchain.SummaryMiddleware):
    """`SummarizationMiddleware` with its own count, by length."""

    def __init__(self, limit: int, summarise: langchain.Summarise) -> None:
        from langchain.agents.middleware import SummarizationMiddleware

        super().__init__(limit, summarise)
        self._middleware = SummarizationMiddleware(langchain.Summariser(answer=summarise), trigger=("tokens", limit))


class _Tokeniser(langchain.Summariser):
    def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
        return _tokens_of(messages)


def _classic(limit: int) -> langchain.SummaryBuffer:
    made = langchain.SummaryBuffer(limit, _summary)
    made.memory.llm = _Tokeniser(answer=_summary)
    return made


def _counting(made: Any) -> Any:
    """Let LlamaIndex's memories count by their own tokeniser."""
    made.memory.tokenizer_fn = get_tokenizer()
    return made


def _tokens_of(messages: Any) -> int:
    """Count as chat models do: a tokeniser over every message (LlamaIndex's, which needs no download)."""
    encode = get_tokenizer()
    return sum(len(encode(message.text)) + 4 for message in messages)


def _summary(texts: Sequence[str]) -> str:
    return SUMMARY
