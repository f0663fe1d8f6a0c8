"""Runs the bundled workload through every framework that is installed, and scores the answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Conversation, Turn, Workload, load_workload
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import BadInput, MissingExtra
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.scoping import scope
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
    """What one path (agent, chain, chat engine, query engine) answered to one turn."""

    conversation: str
    turn: str
    text: str
    framework: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoContext:
    """What each framework's half of the demo is given.

    *model* is a live model's name (`openai:gpt-5-mini`), None for the replayed one; *progress* is called with a path's
    name, the turns done and the turns in all.
    """

    workload: Workload
    embedder: Embedder
    runtime: Runtime
    model: str | None = None
    tier: Tier = "strong"
    clock: Clock = time.time
    desk: Callable[[], Desk] = Desk
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Answers of one path: how many turns, how many of the answerable ones stated every expected fact."""

    framework: str
    path: str
    turns: int
    answerable: int
    right: int


Half = Callable[[DemoContext], Sequence[DemoAnswer]]


def halves() -> dict[str, Half]:
    """Return the frameworks' halves that can be loaded, by name (entry points of the group `tokenwise.demos`)."""
    found: dict[str, Half] = {}
    for point in sorted(entry_points(group="tokenwise.demos"), key=lambda p: p.name):
        try:
            found[point.name] = point.load()
        except ImportError as error:
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

    Each turn is booked under the names of its conversation, in a session of the path's own.
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
                text = ask(turn.user)
            done += 1
            context.progress(f"{framework} {path}", done, total)
            yield DemoAnswer(conversation=conversation.id, turn=turn.id, text=text, framework=framework, path=path)


def run_demo(
    runtime: Runtime,
    *,
    model: str | None = None,
    tier: Tier = "strong",
    only: Iterable[str] | None = None,
    embedder: Embedder | None = None,
    workload: Workload | None = None,
    progress: Progress = no_progress,
) -> list[DemoAnswer]:
    """Run the workload through each framework that is installed (or those named in *only*)."""
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
        model=model,
        tier=tier,
        progress=progress,
    )
    return [answer for half in found.values() for answer in half(context)]


def score(answers: Sequence[DemoAnswer], workload: Workload) -> list[Score]:
    """Count, for each path, the answers that state every expected fact in one of its wordings."""
    turns = {turn.id: turn for conversation in workload.conversations for turn in conversation.turns}
    paths = sorted({(answer.framework, answer.path) for answer in answers})
    scores = []
    for framework, path in paths:
        mine = [a for a in answers if (a.framework, a.path) == (framework, path)]
        answerable = [a for a in mine if turns[a.turn].answerable]
        right = sum(turns[a.turn].is_said_by(a.text) for a in answerable)
        scores.append(Score(framework=framework, path=path, turns=len(mine), answerable=len(answerable), right=right))
    return scores
