"""What our handler costs the thread that calls the model over one that does nothing; LangChain's own beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from tokenwise_core.demo.workload import load_workload
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import TokenBreakdownHandler

ROUNDS = 5  # the calmest one counts: a shared machine's speed changes by half from second to second
CALLS, QUICK_CALLS, WARM, BLOCK = 2000, 80, 80, 10
CHUNKS = 200
SAID = "I ordered the blue kettle on the third of May and it has not come; order number {} says shipped. " * 2
ANSWERED = "Order {} left our warehouse on the fifth; the carrier's depot in Leeds has it since the seventh. " * 2


class Constant(BaseChatModel):
    """A model that costs nothing, with usage as `ChatOpenAI` reports it."""

    @property
    def _llm_type(self) -> str:
        return "constant"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name="gpt-4o-mini", ls_model_type="chat")

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(
            "Your parcel arrives on Tuesday.",
            usage_metadata=UsageMetadata(input_tokens=640, output_tokens=9, total_tokens=649),
            response_metadata={"model_name": "gpt-4o-mini-2024-07-18", "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(CHUNKS):
            yield ChatGenerationChunk(message=AIMessageChunk("word "))


class Empty(BaseCallbackHandler):
    """Hears a call's start and end and does nothing; without these hooks LangChain would write the prompt as text."""

    run_inline = True

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None: ...


class CountingExecutor(ThreadPoolExecutor):
    def __init__(self) -> None:
        super().__init__(2)
        self.hops = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.hops += 1
        return super().submit(*args, **kwargs)


def prompt_of_13() -> list[BaseMessage]:
    """A system prompt and six rounds of a support desk's conversation, some 640 tokens."""
    messages: list[BaseMessage] = [SystemMessage("You are the support desk of a kitchen shop. Be brief and exact.")]
    for number in range(6):
        messages.append(HumanMessage(SAID.format(number, number)))
        messages.append(AIMessage(ANSWERED.format(number, number)))
    return messages


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Measure the call without tools, the call with the workload's 24 tools, and the hops of a stream."""
    calls = QUICK_CALLS if quick else CALLS
    model, tools = Constant(), [tool.raw for tool in load_workload().tools]
    return [
        _cost("handler.langchain.us", model, calls, must=40, goal=25),
        _cost("handler.langchain.tools_us", model.bind(tools=tools), calls, must=60, goal=60),
        _hops(model),
    ]


def _cost(key: str, model: Any, calls: int, *, must: float, goal: float) -> dict[str, Any]:
    messages = prompt_of_13()
    ours, peer = TokenBreakdownHandler(store=MemoryStore(), log=False), UsageMetadataCallbackHandler()
    peer.run_inline = True  # its default would cost a hop in async code; here it changes nothing
    variants = [_caller(model, messages, handler) for handler in (Empty(), ours, peer)]
    rounds = [interleaved(variants, calls // ROUNDS) for _ in range(ROUNDS)]
    (alone, mine, theirs), process = min(rounds, key=lambda measured: measured[0][0])
    ours.flush()
    if len(ours.events()) < calls:
        raise RuntimeError("the handler missed calls: its time says nothing")
    return {
        "area": "accounting", "key": key, "ours": round(mine - alone, 1), "goal": goal, "must": must, "unit": "µs",
        "better": "lower", "peers": {"UsageMetadataCallbackHandler": round(theirs - alone, 1)}, "n": calls,
        "note": f"CPU time of the calling thread over a handler that does nothing ({alone:.0f} µs a call), "
        f"the calmest of {ROUNDS} rounds; "
        f"{process[1] - process[0]:.0f} µs of the whole process, counting and storing in the writer thread included",
    }  # fmt: skip


def _caller(model: Any, messages: Sequence[BaseMessage], handler: BaseCallbackHandler) -> Callable[[], None]:
    config = {"callbacks": [handler]}

    def call() -> None:
        model.invoke(messages, config=config)

    if isinstance(handler, TokenBreakdownHandler):
        call.settle = handler.flush  # type: ignore[attr-defined]
    return call


def interleaved(variants: Sequence[Callable[[], None]], calls: int) -> tuple[list[float], list[float]]:
    """Return what each variant takes, in µs a call: CPU time of the thread (medians) and of the process (means).

    They take turns, and each later variant is the first one's median plus the median difference of a turn: a busy
    machine hits neighbours alike. What a variant leaves to other threads is waited for at the end of its turn: it is
    in its process time, and does not disturb the next one.
    """
    blocks: list[list[float]] = [[] for _ in variants]
    process = [0] * len(variants)
    for turn in range((WARM + calls) // BLOCK):
        for position, call in enumerate(variants):
            began = time.process_time_ns()
            taken = median(_timed(call) for _ in range(BLOCK))
            getattr(call, "settle", int)()
            if turn >= WARM // BLOCK:
                blocks[position].append(taken)
                process[position] += time.process_time_ns() - began
    alone = median(blocks[0])
    over = [median(mine - first for mine, first in zip(block, blocks[0], strict=True)) for block in blocks]
    return [(alone + more) / 1e3 for more in over], [spent / calls / 1e3 for spent in process]


def _timed(call: Callable[[], None]) -> int:
    began = time.thread_time_ns()
    call()
    return time.thread_time_ns() - began


def _hops(model: Constant) -> dict[str, Any]:
    handler = TokenBreakdownHandler(store=MemoryStore(), log=False)
    hops = {name: asyncio.run(_stream_hops(model, h)) for name, h in (("none", Empty()), ("ours", handler))}
    default = asyncio.run(_stream_hops(model, UsageMetadataCallbackHandler()))
    return {
        "area": "accounting", "key": "handler.langchain.hops_per_chunk", "ours": (hops["ours"] - hops["none"]) / CHUNKS,
        "goal": 0, "must": 0, "unit": "hops out of the event loop", "better": "lower", "n": CHUNKS,
        "peers": {"UsageMetadataCallbackHandler": round((default - hops["none"]) / CHUNKS, 2)},
        "note": "astream, tasks that reach the loop's executor",
    }  # fmt: skip


async def _stream_hops(model: Constant, handler: BaseCallbackHandler) -> int:
    executor = CountingExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    async for _ in model.astream("hello", config={"callbacks": [handler]}):
        pass
    return executor.hops
