from __future__ import annotations

from tokenwise_core.scoping import scope
from tokenwise_core.usage.call import known_from_variables
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.traces import Traces


def test_the_root_is_the_outermost_known_run() -> None:
    traces = Traces()
    traces.enter("agent")
    traces.enter("step", "agent")
    traces.enter("model", "step")
    assert traces.root("model") == "agent"
    assert traces.ancestors("model") == ("step", "agent")


def test_an_orphan_is_its_own_root() -> None:
    traces = Traces()
    traces.enter("model", "never seen")
    assert traces.root("model") == "never seen"
    assert Traces().root("unknown") == "unknown"


def test_a_run_in_another_thread_inherits_the_scope_of_its_parent() -> None:
    traces = Traces()
    with scope(session="s-1"):
        traces.enter("agent")
    traces.enter("model", "agent")
    assert traces.scope("model").session == "s-1"


def test_a_cycle_of_parents_ends() -> None:
    traces = Traces()
    traces.enter("a", "b")
    traces.enter("b", "a")
    assert traces.root("a") in {"a", "b"}


def test_runs_that_never_end_are_forgotten_oldest_first() -> None:
    traces = Traces(max_runs=3)
    for run in range(10):
        traces.enter(run, run - 1)
    assert traces.root(9) == 6


def test_what_a_retriever_found_is_known_in_its_whole_trace_and_nowhere_else() -> None:
    traces = Traces()
    traces.enter("chain")
    traces.enter("retriever", "chain")
    traces.retrieved("retriever", ["page one"])
    traces.leave("retriever")
    traces.enter("model", "chain")
    traces.enter("other")
    assert traces.texts("model") == ("page one",)
    assert traces.texts("other") == ()


def test_the_nearest_template_variables_win() -> None:
    traces = Traces()
    traces.enter("chain")
    traces.enter("inner", "chain")
    traces.enter("model", "inner")
    traces.learn("chain", known_from_variables({"context": ["far"]}))
    assert [k.text for k in traces.known("model")] == ["far"]
    traces.learn("inner", known_from_variables({"question": ["near"]}))
    assert [(k.component, k.text) for k in traces.known("model")] == [(Component.USER_INPUT, "near")]


def test_a_run_is_named_after_the_outermost_one_that_has_a_name() -> None:
    traces = Traces()
    traces.enter("graph", name="nightly digest")
    traces.enter("step", "graph", name="model")
    traces.enter("call", "step")
    assert traces.name("call") == "nightly digest"
    assert traces.name("unknown") is None
    assert traces.name(None) is None
