from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.core.memory.replaying import RATES, WORDS
from tokenwise_core.memory import Memory, Put, Request, Session, Window
from tokenwise_core.messages import Message

FILL = "and so on " * 18


def project(data: Mapping[str, Any], at: int) -> Message:
    return Message(role=data["role"], text=data["text"], index=at)


def opened(url: str, **options: Any) -> Session:
    given = {"rates": RATES["C"], "recall": None, "counter": WORDS, "target_tokens": 800, "deadline_ms": 60_000}
    return Session(Memory(Window(), sessions=url, **{**given, **options}), "s", project=project)


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "text": text}


def turn(n: int, who: str = "") -> list[dict[str, str]]:
    return [said("user", f"{who} ask {n} {FILL}"), said("assistant", f"{who} say {n} {FILL}")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


def test_what_was_appended_is_there_in_another_process_as_it_was_written(url: str) -> None:
    first = [said("user", "hello"), {**said("assistant", "hi"), "extra": {"deep": [1, None]}}]  # type: ignore[dict-item]
    opened(url).append(first)
    assert opened(url).messages() == first


def test_an_append_that_is_repeated_appends_once(url: str) -> None:
    session = opened(url)
    for _ in range(2):
        session.append(turn(0), ids=["a", "b"])
    assert len(session.messages()) == 2


def test_a_restarted_process_shows_what_the_one_before_it_showed(url: str) -> None:
    session = opened(url)
    for n in range(20):
        session.append(turn(n))
        before, _ = session.prepare(Request())
    assert session.memory._workers.rest(10)
    after, messages = opened(url).prepare(Request())
    assert after.plan == before.plan
    assert after.view.account.requests == 21
    assert len(messages) == 40


def test_a_question_that_is_stored_later_counts_for_this_request(url: str) -> None:
    session = opened(url)
    session.append(turn(0))
    prepared, messages = session.prepare(Request(), more=[said("user", "and now?")])
    assert messages[-1] == said("user", "and now?")
    assert prepared.plan.positions == (0, 1, 2)
    assert len(session.messages()) == 2


def test_awaited_requests_are_the_same(url: str) -> None:
    session = opened(url)
    for n in range(20):
        session.append(turn(n))
    prepared, messages = asyncio.run(session.aprepare(Request()))
    assert any(isinstance(part, Put) for part in prepared.plan.parts)
    assert len(messages) == 40


def test_usage_says_what_is_held_and_what_is_shown(url: str) -> None:
    session = opened(url)
    for n in range(20):
        session.append(turn(n))
    session.prepare(Request())
    usage = session.usage()
    assert usage.messages == 40
    assert set(usage.by_role) == {"user", "assistant"}
    assert sum(usage.by_role.values()) == usage.total_tokens
    assert usage.shown_tokens < usage.total_tokens
    assert not usage.has_summary  # a note is none


def test_a_session_that_was_cleared_elsewhere_begins_anew_here(url: str) -> None:
    here, there = opened(url), opened(url)
    for n in range(20):
        here.append(turn(n))
    here.prepare(Request())
    there.clear()
    here.append(turn(99))
    prepared, messages = here.prepare(Request())
    assert messages == turn(99)
    assert prepared.plan.changes_nothing


def test_threads_and_processes_on_one_session_lose_nothing_and_double_nothing(url: str) -> None:
    opened(url).append([said("system", "be kind")], ids=["head"])
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_crowd, args=(url, name)) for name in ("p", "q")]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    texts = [message["text"] for message in opened(url).messages()]
    wanted = [f"{name}{t} ask {n} {FILL}" for name in "pq" for t in range(2) for n in range(8)]
    assert sorted(text for text in texts if "ask" in text) == sorted(wanted)
    assert len(texts) == len(set(texts)) == 1 + 2 * len(wanted)
    for name in ("p0", "p1", "q0", "q1"):
        own = [text for text in texts if text.startswith(name)]
        assert own == [message["text"] for n in range(8) for message in turn(n, name)]


def _crowd(url: str, name: str) -> None:
    session, failed = opened(url), []

    def work(who: str) -> None:
        try:
            for n in range(8):
                question, answer = turn(n, who)
                prepared, messages = session.prepare(Request(), more=[question])
                assert len(list(prepared.plan.shown(messages))) == len(prepared.plan.positions) + sum(
                    isinstance(part, Put) for part in prepared.plan.parts
                )
                assert messages[-1] == question
                assert prepared.plan.positions[-1] == len(messages) - 1
                session.append([question, answer])
                session.answered(prepared)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(f"{name}{t}",)) for t in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.memory.close()
    assert not failed
    assert not session.memory.stats().failures
