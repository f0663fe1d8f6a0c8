"""What fails in the memory never fails the user's call: models, stores, threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine

from tests.llamaindex.talking import FACTS, Talker, answer, core_memory, summing, talk, texts, tokens, user, words
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory.sessions import Changes, LogItem, MemorySessions, StoredView
from tokenwise_llamaindex import SummaryBufferMemory, TokenwiseLLM


class Down(MemorySessions):
    """A store that answers nothing while it is *down*."""

    down = True

    def _check(self) -> None:
        if self.down:
            raise StoreError("it is down", url=self.url)

    def append(self, session: str, items: Sequence[LogItem], **owner: Any) -> None:
        self._check()
        super().append(session, items, **owner)

    def replace(self, session: str, items: Sequence[LogItem], **owner: Any) -> None:
        self._check()
        super().replace(session, items, **owner)

    def changes(self, session: str, *, after: int = 0, epoch: int = 0) -> Changes:
        self._check()
        return super().changes(session, after=after, epoch=epoch)

    def view(self, session: str) -> StoredView | None:
        self._check()
        return super().view(session)

    def save_view(self, *args: Any, **named: Any) -> bool:
        self._check()
        return super().save_view(*args, **named)

    def results(self, session: str) -> dict[str, dict[str, Any]]:
        self._check()
        return super().results(session)

    def lease(self, *args: Any, **named: Any) -> bool:
        self._check()
        return super().lease(*args, **named)

    def finish(self, *args: Any, **named: Any) -> bool:
        self._check()
        return super().finish(*args, **named)


def test_a_store_that_is_down_is_made_up_for_in_this_process_and_told_later() -> None:
    store = Down()
    memory = summing(Talker(), sessions=store)
    shown = talk(memory, 18)
    assert any(FACTS in one for one in shown[-1])
    assert len(memory.get_all()) == 36
    store.down = False
    memory.put(user("And now?"))
    assert len(store.read(memory.session_id)) == 37


async def test_an_agent_and_an_engine_answer_while_the_store_is_down() -> None:
    memory = summing(Talker(), sessions=Down())
    agent = FunctionAgent(tools=[], llm=Talker("Yes."))
    for number in range(3):
        assert str(await agent.run(words(number), chat_history=memory.get_all(), memory=memory)) == "Yes."
    engine = SimpleChatEngine.from_defaults(llm=Talker("Yes."), memory=memory)
    assert str(engine.chat("And now?", chat_history=[user("Anew."), answer("Yes.")])) == "Yes."
    assert texts(memory.get_all())[0] == "Anew."
    assert memory.to_dict()["dumped"]["messages"]


@pytest.mark.parametrize("facts", [ConnectionError("429"), TimeoutError(), "", "   ", ValueError("no")])
async def test_a_summariser_that_fails_fails_no_call(facts: Any) -> None:
    memory = summing(Talker(facts=facts))
    agent = FunctionAgent(tools=[], llm=Talker("Yes. " * 10))
    for number in range(20):
        assert str(await agent.run(words(number), memory=memory)).startswith("Yes.")
    assert len(memory.get_all()) == 40
    assert tokens(memory, memory.get()) <= 900


def test_a_slow_summariser_keeps_nobody_waiting() -> None:
    may_go = threading.Event()

    def facts(*_: Any) -> str:
        may_go.wait(20)
        return FACTS

    memory = summing(Talker(facts=facts), summaries="background")
    began = time.monotonic()
    talk(memory, 20)
    assert time.monotonic() - began < 15  # not a figure: it would hang for 20 s a summary
    may_go.set()
    assert memory.memory.drain(20)


def test_what_breaks_inside_shows_all_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = summing()
    memory.put(user("Hello?"))

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(memory._turns.session, "prepare", broken)
    monkeypatch.setattr(memory._turns.session, "aprepare", broken)
    assert texts(memory.get()) == ["Hello?"]
    assert texts(asyncio.run(memory.aget())) == ["Hello?"]


def test_a_lever_that_breaks_sends_the_call_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, core = Talker("Yes."), core_memory()
    llm = TokenwiseLLM(inner, memory=core)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(core, "prepare", broken)
    messages = [user("a"), answer("b"), user("c"), answer("d"), user("e")]
    assert llm.chat(messages).message.content == "Yes."
    assert texts(inner.requests[-1]) == list("abcde")
    assert llm._stack.errors == {"memory": 1}


def test_no_memory_is_said_at_once() -> None:
    with pytest.raises(BadInput, match="SummaryBufferMemory"):
        TokenwiseLLM(Talker(), memory=summing())  # type: ignore[arg-type]


# Several at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["memory://", "sqlite"])
def test_two_threads_on_one_session_lose_nothing_and_double_nothing(where: str, tmp_path: Path) -> None:
    url = where if where == "memory://" else f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    core = core_memory(sessions=url, deadline_ms=2_000)
    failures: list[BaseException] = []

    def work(name: str) -> None:
        memory = SummaryBufferMemory.from_defaults(llm=Talker(), memory=core, session_id="shared")
        try:
            for number in range(30):
                memory.put(user(f"{name} asks {number} " + "and so on " * 8))
                assert memory.get()
                memory.put(answer(f"{name} hears {number} " + "and so on " * 8))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    said = [" ".join(one.split()[:3]) for one in texts(core_texts(core))]
    assert len(said) == len(set(said)) == 120


def core_texts(core: Any) -> Any:
    return SummaryBufferMemory.from_defaults(memory=core, session_id="shared").get_all()


def test_a_session_goes_on_in_another_process_with_its_summaries(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    first = SummaryBufferMemory.from_defaults(llm=Talker(), memory=core_memory(sessions=url), session_id="s")
    shown = talk(first, 18)[-1]
    assert first.memory.drain(5)
    first.memory.close()
    llm = Talker()
    second = SummaryBufferMemory.from_defaults(llm=llm, memory=core_memory(sessions=url), session_id="s")
    assert second.get_all() == first.get_all()
    second.put(user("And now?"))
    assert texts(second.get())[: len(shown)][0] == shown[0]
    assert FACTS in texts(second.get())[0]


async def test_many_tasks_on_one_session_lose_nothing() -> None:
    memory = summing()

    async def work(name: int) -> None:
        for number in range(20):
            await memory.aput(user(f"{name}-{number}"))
            await memory.aget()

    await asyncio.gather(*(work(name) for name in range(5)))
    assert sorted(texts(await memory.aget_all())) == sorted(f"{a}-{b}" for a in range(5) for b in range(20))


def test_what_is_reset_is_gone_from_the_store() -> None:
    memory = summing(Talker())
    talk(memory, 18)
    memory.reset()
    assert not memory.get_all()
    assert not memory.get()
    assert memory.memory.sessions.length(memory.session_id) == 0
    memory.put(user("Anew?"))
    assert texts(memory.get()) == ["Anew?"]
