"""What was the last question while its block was summarised stays, until the summaries around it are merged."""

from __future__ import annotations

from tests.core.memory.replaying import Life
from tests.core.memory.test_buffer import FILL, SYSTEM, life, summarise
from tokenwise_core.flow import Ask
from tokenwise_core.memory import BlockSummary
from tokenwise_core.messages import Message, ToolCall


def work(talk: Life, runs: int, steps: int) -> list[Message]:
    """Let an agent work: each question is followed by *steps* calls, so that most cuts fall within a run."""
    messages = [SYSTEM]
    for run in range(runs):
        messages = [*messages, Message(role="user", text=f"ask {run} {FILL}")]
        for step in range(steps):
            talk.answer(talk.request(messages))
            assert talk.memory.drain()
            name = f"c{run}-{step}"
            call = Message(role="assistant", tool_calls=(ToolCall(name="look", id=name),))
            messages = [*messages, call, Message(role="tool", tool_call_id=name, text=f"found {step} {FILL}")]
        talk.answer(talk.request(messages))
        assert talk.memory.drain()
        messages = [*messages, Message(role="assistant", text=f"say {run}")]
    return messages


def questions(talk: Life, messages: list[Message]) -> list[int]:
    """Return which old questions are shown as they were asked."""
    cut = talk.view.cut
    shown = talk.requests[-1].plan.positions
    return [at for at in shown if at < cut and messages[at].role == "user"]


def test_they_go_with_the_next_merge() -> None:
    seen: list[str] = []

    def remember(ask: Ask) -> str:
        seen.append(ask.prompt)
        return summarise(ask)

    talk = life(ask=remember, strategy=BlockSummary(merge_at=3, pin_share=0.1))
    messages = work(talk, runs=40, steps=12)
    assert talk.problems == []
    assert any(one.view.summaries and one.view.summaries[-1].merged > 1 for one in talk.requests)
    most = max(len([at for at in one.plan.positions if at < one.view.cut]) for one in talk.requests)
    assert most <= 2 + 3
    gone = [at for at, m in enumerate(messages) if m.role == "user" and at not in talk.requests[-1].plan.positions]
    assert len(gone) > 20
    assert all(any(messages[at].text[:8] in prompt for prompt in seen) for at in gone)  # a summary was made of each


def test_without_merging_they_stay() -> None:
    talk = life(ask=summarise, strategy=BlockSummary(merge_at=1_000, pin_share=0.1))
    messages = work(talk, runs=40, steps=12)
    assert len(questions(talk, messages)) > 5
