"""Whose call it is, by what LangChain and LangGraph say of it."""

from __future__ import annotations

from tokenwise_core.scoping import Scope
from tokenwise_langchain.snapshots import scope_of


def test_a_call_that_langchains_middleware_makes_carries_the_label_of_its_source() -> None:
    assert scope_of({"lc_source": "summarization"}).labels == {"lc_source": "summarization"}
    assert scope_of({}).labels == {}


def test_tags_of_the_user_are_labels_beside_it_and_those_of_the_frameworks_are_not() -> None:
    found = scope_of({"lc_source": "summarization"}, ["vip", "seq:step:2", "langsmith:hidden"])
    assert found.labels == {"lc_source": "summarization", "vip": "true"}


def test_session_user_and_agent_are_read_from_the_metadata() -> None:
    metadata = {"session_id": "", "thread_id": 7, "user_id": "u-1", "lc_agent_name": "desk"}
    assert scope_of(metadata) == Scope(session="7", user="u-1", agent="desk")
