"""Runs the bundled workload through every framework that is installed: plain, with the cache, or with memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

from tokenwise_core.demo.caching import Decision, WatchedCache
from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.remembering import Memories
from tokenwise_core.demo.workload import Conversation, Turn, Workload, load_workload
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import BadInput, MissingExtra
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.scoping import carry_scope, scope
from tokenwise_core.usage.runtime import Runtime

log = logging.getLogger("tokenwise.demo")

Tier = Literal["cheap", "strong"]
Progress = Callable[[str, int, int], None]
"""Called with a path's name, the turns done, and the turns in all."""


def no_progress(path: str, done: int, total: int) -> None:
    """Show nothing."""


APPLICATION = "demo"
"""What both halves book the demo's calls under: `tokenwise purge --application demo` removes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAnswer:
    """What one path (agent, chain, chat engine, query engine, help box) answered to one turn.

    *decisions* are the cache's, one a model call of the turn (of a chain or engine, one in all).
    """

    conversation: str
    turn: str
    text: str
    framework: str
    path: str
    decisions: tuple[Decision, ...] = ()

    @property
    def is_served(self) -> bool:
        """Whether any part of the answer came out of the cache."""
        return any(decision.kind is not None for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoContext:
    """What each framework's half of the demo is given.

    *model* is a live model's name (`openai:gpt-5-mini`), None for the replayed one; *cache* is None where the demo runs
    without one, and so are *memories*, which else keep the conversations of agents, chains and chat engines; *progress*
    is called with a path's name, the turns done and the turns in all.
    """

    workload: Workload
    embedder: Embedder
    runtime: Runtime
    cache: WatchedCache | None = None
    memories: Memories | None = None
    model: str | None = None
    tier: Tier = "strong"
    clock: Clock = time.time
    desk: Callable[[], Desk] = Desk
    progress: Progress = no_progress


Half = Callable[[DemoContext], Sequence[DemoAnswer]]


def halves() -> dict[str, Half]:
    """Return the frameworks' halves that can be loaded, by name (entry points of the group `tokenwise.demos`)."""
    found: dict[str, Half] = {}
    for point in sorted(entry_points(group="tokenwise.demos"), key=lambda p: p.name):
        try:
            found[point.name] = point.load()
        except ImportError as error:
            if (error.name or "").startswith("tokenwise"):
                raise  # ours is broken, not the framework absent
            log.info("the demo leaves out %s: %s", point.name, error)
    return found


Ask = Callable[[str], str]
"""Puts a question to a path that remembers its conversation, and returns the answer."""


def play(
    context: DemoContext,
    conversations: Sequence[Conversation],
    opened: Callable[[Conversation], Ask],
    *,
    framework: str,
    path: str,
    only: Callable[[Turn], bool] | None = None,
) -> Iterator[DemoAnswer]:
    """Yield the answers of one path of one framework; *opened* begins a conversation, *only* chooses its turns.

    Each turn is booked under the names of its conversation, in a session of the path's own. People pause between two
    questions: before the next is asked, the cache has stored the answer, and memory found time to read.
    """
    chosen = {c.id: [turn for turn in c.turns if only is None or only(turn)] for c in conversations}
    done, total = 0, sum(map(len, chosen.values()))
    for conversation in conversations:
        ask = opened(conversation)
        for turn in chosen[conversation.id]:
            with scope(
                application=APPLICATION,
                agent=conversation.agent,
                task=conversation.task,
                session=f"{conversation.id} {framework} {path}",
                user=conversation.user,
            ):
                texts = _asked(ask, turn)
            if context.memories is not None:
                context.memories.drain()
            done += 1
            context.progress(f"{framework} {path}", done, total)
            for text, decisions in zip(texts, _decided(context.cache, len(texts)), strict=True):
                yield DemoAnswer(
                    conversation=conversation.id,
                    turn=turn.id,
                    text=text,
                    framework=framework,
                    path=path,
                    decisions=decisions,
                )


def _asked(ask: Ask, turn: Turn) -> list[str]:
    """Put the turn's question, as many times at once as people ask it."""
    if turn.at_once == 1:
        return [ask(turn.user)]
    with ThreadPoolExecutor(turn.at_once) as pool:
        carried = carry_scope(ask)  # a plain pool loses the scope, and without one there is no cache
        return list(pool.map(lambda _: carried(turn.user), range(turn.at_once)))


def _decided(cache: WatchedCache | None, askers: int) -> list[tuple[Decision, ...]]:
    """Return what the cache decided for each of *askers*, who asked the same; who got which of it, nobody can tell."""
    if cache is None:
        return [()] * askers
    cache.flush()
    taken = cache.taken()
    return [taken] if askers == 1 else [taken[i::askers] for i in range(askers)]


def run_demo(
    runtime: Runtime,
    *,
    cache: WatchedCache | None = None,
    memories: Memories | None = None,
    model: str | None = None,
    tier: Tier = "strong",
    only: Iterable[str] | None = None,
    embedder: Embedder | None = None,
    workload: Workload | None = None,
    progress: Progress = no_progress,
) -> list[DemoAnswer]:
    """Run the workload through each framework that is installed (or those named in *only*).

    It goes through *cache*, and *memories* keep its conversations, where they are given.
    """
    wanted = set(only) if only is not None else None
    found = {name: half for name, half in halves().items() if wanted is None or name in wanted}
    missing = (wanted or set()) - set(found)
    if missing:
        raise MissingExtra(sorted(missing)[0], sorted(missing)[0])
    if not found:
        raise BadInput('no framework is installed: pip install "tokenwise[langchain,llamaindex]"')
    context = DemoContext(
        workload=workload or load_workload(),
        embedder=embedder or default_embedder(),
        runtime=runtime,
        cache=cache,
        memories=memories,
        model=model,
        tier=tier,
        progress=progress,
    )
    return [answer for half in found.values() for answer in half(context)]
