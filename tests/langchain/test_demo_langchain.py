"""The demo's half: a real agent with the desk's tools, and a real RAG chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool
from numpy.typing import NDArray

from tokenwise_core.cache import MemoryEntries
from tokenwise_core.cache.request import LEVER
from tokenwise_core.demo.caching import demo_cache
from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.remembering import demo_memories
from tokenwise_core.demo.runner import DemoAnswer, DemoContext
from tokenwise_core.demo.scoring import turns_of
from tokenwise_core.demo.workload import Workload, load_workload
from tokenwise_core.messages import ToolDefinition
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import Status, UsageEvent
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain.convert import to_tools
from tokenwise_langchain.demo import HandbookRetriever, desk_tools, run

TURNS = 4


@pytest.fixture(scope="module")
def workload() -> Workload:
    """The first turns of an agent's conversation and of a chain's."""
    whole = load_workload()
    one_each = [next(c for c in whole.conversations if c.style == style) for style in ("mixed", "rag")]
    return replace(whole, conversations=tuple(replace(c, turns=c.turns[:TURNS]) for c in one_each))


@pytest.fixture(scope="module")
def played(workload: Workload) -> tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]]:
    runtime = make_runtime(MemoryStore())
    events: list[UsageEvent] = []
    runtime.recorder.subscribe(events.append)
    progress: list[tuple[str, int, int]] = []
    context = DemoContext(
        workload=workload, embedder=HashEmbedder(), runtime=runtime, progress=lambda *step: progress.append(step)
    )
    answers = run(context)
    runtime.recorder.close()
    return answers, events, progress


def test_every_turn_gets_an_answer_on_its_path(
    played: tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]], workload: Workload
) -> None:
    answers, _, progress = played
    assert [a.turn for a in answers] == [turn.id for c in workload.conversations for turn in c.turns]
    assert [a.path for a in answers] == ["agent"] * TURNS + ["chain"] * TURNS
    assert all(answer.text for answer in answers)
    assert progress[-1] == ("langchain chain", TURNS, TURNS)


def test_each_call_is_booked_under_its_conversation(
    played: tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]], workload: Workload
) -> None:
    _, events, _ = played
    for conversation in workload.conversations:
        mine = [event for event in events if (event.scope.session or "").split()[0] == conversation.id]
        assert len(mine) >= TURNS
        assert {(e.scope.application, e.scope.agent, e.scope.task, e.scope.user) for e in mine} == {
            ("demo", conversation.agent, conversation.task, conversation.user)
        }


def test_the_agents_tokens_go_to_tools_pages_and_history(
    played: tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]],
) -> None:
    _, events, _ = played
    agent = [event for event in events if event.tools_offered]
    assert all(event.tools_offered == 24 for event in agent)
    total = sum((event.breakdown for event in agent), start=agent[0].breakdown - agent[0].breakdown)
    spent_on = {Component.TOOL_DEFINITIONS, Component.SYSTEM_PROMPT, Component.RETRIEVED_CONTEXT, Component.HISTORY}
    assert all(total[component] > 100 for component in spent_on)
    assert all(event.breakdown.input_tokens == event.usage.input_tokens for event in events)


def test_the_chains_examples_are_few_shot(
    played: tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]], workload: Workload
) -> None:
    _, events, _ = played
    chain = [event for event in events if not event.tools_offered]
    assert len(chain) == TURNS
    assert len({event.breakdown[Component.FEW_SHOT] for event in chain}) == 1
    assert chain[0].breakdown[Component.FEW_SHOT] > 50


def test_the_pages_stay_out_of_the_history(
    played: tuple[list[DemoAnswer], list[UsageEvent], list[tuple[str, int, int]]],
) -> None:
    _, events, _ = played
    chain = [event for event in events if not event.tools_offered]
    assert chain[-1].breakdown[Component.HISTORY] < chain[-1].breakdown[Component.RETRIEVED_CONTEXT]


def test_the_tools_reach_the_model_with_their_schemas_as_they_are() -> None:
    definitions = load_workload().tools
    offered = to_tools({"tools": [convert_to_openai_tool(tool) for tool in desk_tools(Desk(), definitions)]})
    assert [(t.name, t.description, t.parameters) for t in offered] == [
        (t.name, t.description, t.parameters) for t in definitions
    ]


def test_a_tool_passes_its_arguments_on_as_given() -> None:
    class Echo(Desk):
        def call(self, name: str, arguments: object) -> str:
            return f"{name} {arguments}"

    definition = ToolDefinition(
        name="look", description="Look it up.", parameters={"type": "object", "properties": {"by": {"type": "object"}}}
    )
    (tool,) = desk_tools(Echo(), [definition])
    assert tool.invoke({"by": {"email": "a@b.example"}}) == "look {'by': {'email': 'a@b.example'}}"


def test_the_retriever_returns_the_nearest_pages(workload: Workload) -> None:
    retriever = HandbookRetriever(workload.documents, HashEmbedder(), k=3)
    page = workload.documents[7]
    found = retriever.invoke(page.text)
    assert len(found) == 3
    assert found[0].id == page.id


def test_with_the_cache_the_help_box_is_answered_from_it_and_nothing_is_retrieved_for_it() -> None:
    whole = load_workload()
    monday, tuesday = whole.styled("faq")[:2]
    repeated = {turn.user for turn in monday.turns} & {turn.user for turn in tuesday.turns}
    first, again = (replace(c, turns=tuple(t for t in c.turns if t.user in repeated)) for c in (monday, tuesday))
    embedder = _Counting()
    runtime = make_runtime(MemoryStore())
    events: list[UsageEvent] = []
    runtime.recorder.subscribe(events.append)
    with demo_cache(MemoryEntries(), embedder=HashEmbedder(), prices=PriceBook()) as cache:
        workload = replace(whole, conversations=(first, again))
        answers = run(DemoContext(workload=workload, embedder=embedder, runtime=runtime, cache=cache))
    runtime.recorder.close()
    assert repeated
    assert [a.is_served for a in answers] == [False] * len(repeated) + [True] * len(repeated)
    assert all(a.text for a in answers)
    hits = [event for event in events if event.status is Status.CACHE_HIT]
    assert len(hits) == len(repeated)
    assert {saving.lever for hit in hits for saving in hit.savings} == {LEVER}
    assert embedder.questions == len(repeated)


def test_an_agents_customer_is_served_from_the_own_namespace(workload: Workload) -> None:
    talk = replace(workload.conversations[0], turns=workload.conversations[0].turns[:1])
    stranger = replace(talk, id="c99", user="C-9999")
    with demo_cache(MemoryEntries(), embedder=HashEmbedder(), prices=PriceBook()) as cache:
        context = DemoContext(
            workload=replace(workload, conversations=(talk, stranger, replace(talk, id="c98"))),
            embedder=HashEmbedder(),
            runtime=make_runtime(MemoryStore()),
            cache=cache,
        )
        mine, theirs, mine_again = run(context)
    assert not mine.is_served
    assert not theirs.is_served
    assert [decision.reason for decision in mine_again.decisions[:1]] == ["cold"]  # its answer called a tool: not kept
    assert mine_again.decisions[-1].kind == "exact"


class _Counting(HashEmbedder):
    """Counts the questions that were looked up in the handbook."""

    questions = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.questions += len(texts) == 1
        return super().embed(texts)


@pytest.mark.parametrize(("name", "path"), [("c27", "agent"), ("c26", "chain")])
def test_with_memory_a_long_conversation_sends_less_and_answers_the_same(name: str, path: str) -> None:
    whole = load_workload()
    (talk,) = (c for c in whole.long if c.id == name)
    workload = replace(whole, conversations=(replace(talk, turns=talk.turns[:40]),))
    memories = demo_memories(embedder=HashEmbedder(), prices=PriceBook(), prompt_cache=False)
    sent, right = [], []
    for kept in (None, memories):
        runtime = make_runtime(MemoryStore())
        events: list[UsageEvent] = []
        runtime.recorder.subscribe(events.append)
        context = DemoContext(workload=workload, embedder=HashEmbedder(), runtime=runtime, memories=kept)
        answers = run(context)
        runtime.recorder.close()
        assert {a.path for a in answers} == {path}
        sent.append(sum(event.usage.input_tokens or 0 for event in events))
        right.append([turns_of(whole)[a.turn].is_said_by(a.text) for a in answers])
    memories.close()
    assert sent[1] < 0.9 * sent[0]  # summaries included
    assert right[1] == right[0]
    assert {s.lever for e in events for s in e.savings} >= {"memory"}
    assert any(event.scope.agent == "tokenwise:summary" for event in events)
