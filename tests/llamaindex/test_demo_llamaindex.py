"""LlamaIndex's half of the demo on two short conversations: real agent, chat engine and query engine, all accounted."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tokenwise_llamaindex
from tokenwise_core.cache import MemoryEntries
from tokenwise_core.cache.request import LEVER
from tokenwise_core.demo.caching import demo_cache
from tokenwise_core.demo.remembering import demo_memories
from tokenwise_core.demo.runner import DemoContext
from tokenwise_core.demo.scoring import turns_of
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.errors import BadInput
from tokenwise_core.testing import HashEmbedder, capture_usage
from tokenwise_core.usage.components import Breakdown
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_llamaindex.demo import DeskToolMetadata, live_model, run

TURNS = 5


@pytest.fixture
def context() -> DemoContext:
    workload = load_workload()
    chosen = [c for style in ("agent", "rag") for c in workload.conversations if c.style == style]
    short = [replace(c, turns=c.turns[:TURNS]) for c in (chosen[2], chosen[-1])]
    return DemoContext(
        workload=replace(workload, conversations=tuple(short)),
        embedder=HashEmbedder(),
        runtime=make_runtime(MemoryStore()),
    )


def test_every_turn_is_answered_and_booked_under_its_names(context: DemoContext) -> None:
    seen: list[tuple[str, int, int]] = []
    context = replace(context, progress=lambda path, done, total: seen.append((path, done, total)))
    talk, chat = context.workload.conversations
    with capture_usage(context.runtime.recorder) as events:
        answers = run(context)
    single = [turn.id for turn in chat.turns if turn.kind == "document"]
    assert [answer.turn for answer in answers] == [turn.id for turn in (*talk.turns, *chat.turns)] + single
    assert seen[-1] == ("llamaindex query engine", len(single), len(single))
    calls = [event for event in events if event.operation == "chat"]
    assert {event.scope.session for event in calls} == {
        f"{talk.id} llamaindex agent", f"{chat.id} llamaindex chat engine", f"{chat.id} llamaindex query engine",
    }  # fmt: skip
    assert {(event.scope.application, event.scope.agent, event.scope.user) for event in calls} == {
        ("demo", talk.agent, talk.user), ("demo", chat.agent, chat.user),
    }  # fmt: skip
    assert all(event.breakdown.input_tokens == event.usage.input_tokens for event in calls)
    parts = sum((event.breakdown for event in calls), Breakdown())
    for component in ("system_prompt", "tool_definitions", "retrieved_context", "history", "few_shot", "user_input"):
        assert parts[component] > 0
    assert any(event.streamed for event in calls)


def test_with_the_cache_the_help_box_is_answered_from_it_and_a_customer_only_from_the_own(context: DemoContext) -> None:
    monday, tuesday = load_workload().styled("faq")[:2]
    repeated = {turn.user for turn in monday.turns} & {turn.user for turn in tuesday.turns}
    days = [replace(c, turns=tuple(t for t in c.turns if t.user in repeated)) for c in (monday, tuesday)]
    talk = replace(context.workload.conversations[0], turns=context.workload.conversations[0].turns[:1])
    talks = [talk, replace(talk, id="c99", user="C-9999"), replace(talk, id="c98")]
    with (
        demo_cache(MemoryEntries(), embedder=HashEmbedder(), prices=PriceBook()) as cache,
        capture_usage(context.runtime.recorder) as events,
    ):
        workload = replace(context.workload, conversations=(*talks, *days))
        answers = run(replace(context, workload=workload, cache=cache))
    mine, theirs, mine_again = (a for a in answers if a.path == "agent")
    assert (mine.is_served, theirs.is_served) == (False, False)
    assert mine_again.decisions[-1].kind == "exact"
    box = [a for a in answers if a.path == "help box"]
    assert repeated
    assert [a.is_served for a in box] == [False] * len(repeated) + [True] * len(repeated)
    assert all(a.text for a in box)
    hits = [event for event in events if event.status is Status.CACHE_HIT]
    assert len(hits) == len(repeated) + sum(decision.kind is not None for decision in mine_again.decisions)
    assert {saving.lever for hit in hits for saving in hit.savings} == {LEVER}


@pytest.mark.parametrize(("name", "path"), [("c27", "agent"), ("c26", "chat engine")])
def test_with_memory_a_long_conversation_sends_less_and_answers_the_same(
    name: str, path: str, context: DemoContext
) -> None:
    whole = load_workload()
    (talk,) = (c for c in whole.long if c.id == name)
    workload = replace(whole, conversations=(replace(talk, turns=talk.turns[:45]),))
    memories = demo_memories(embedder=HashEmbedder(), prices=PriceBook(), prompt_cache=False)
    sent, right = [], []
    for kept in (None, memories):
        with capture_usage(context.runtime.recorder) as events:
            answers = run(replace(context, workload=workload, memories=kept))
        assert {a.path for a in answers} == {path}
        calls = [event for event in events if event.operation != "embedding"]
        sent.append(sum(event.usage.input_tokens or 0 for event in calls))
        right.append([turns_of(whole)[a.turn].is_said_by(a.text) for a in answers])
    memories.close()
    assert sent[1] < 0.9 * sent[0]  # summaries included
    assert right[1] == right[0]
    assert {s.lever for e in calls for s in e.savings} >= {"memory"}


async def test_it_runs_inside_a_running_event_loop(context: DemoContext) -> None:
    first = context.workload.conversations[0]
    short = replace(context.workload, conversations=(replace(first, turns=first.turns[:1]),))
    assert len(run(replace(context, workload=short))) == 1


def test_a_tools_schema_is_kept_as_it_is() -> None:
    for definition in load_workload().tools:
        specification = DeskToolMetadata(definition).to_openai_tool(skip_length_check=True)["function"]
        assert specification["parameters"] == definition.parameters
        assert specification["name"] == definition.name


def test_a_live_model_is_an_integrations_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name in ("openai:gpt-4o-mini", "gpt-4o-mini"):
        model = live_model(name)
        assert (type(model).__name__, model.metadata.model_name) == ("OpenAI", "gpt-4o-mini")


@pytest.mark.parametrize(
    ("name", "told"),
    [("groq:llama-3", "pip install llama-index-llms-groq"), ("nobody:x", "provider:model"), ("x", "provider:model")],
)
def test_a_model_that_cannot_be_had_is_one_clear_line(name: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        live_model(name)


def test_public_names_are_there_and_no_others() -> None:
    for name in tokenwise_llamaindex.__all__:
        assert getattr(tokenwise_llamaindex, name).__name__ == name
    with pytest.raises(AttributeError):
        tokenwise_llamaindex.nothing  # noqa: B018
