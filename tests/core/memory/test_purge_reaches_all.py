from __future__ import annotations

from pathlib import Path

from tokenwise_core import scope
from tokenwise_core.memory import Memory, Rates, Request, ToolResults, View
from tokenwise_core.memory.sessions import SQLiteSessions
from tokenwise_core.messages import Message, ToolCall

SECRET = "The key of the cellar is MELON-4711."


def test_what_a_purge_of_a_user_must_reach_bears_that_users_name(tmp_path: Path) -> None:
    store = SQLiteSessions(tmp_path / "sessions.sqlite")
    memory = Memory(
        target_tokens=300,
        sessions=store,
        recall=None,
        tool_results=ToolResults(max_tokens=64),
        rates=Rates(read=1, write=1),
    )
    said = [
        Message(role="user", text="List it."),
        Message(role="assistant", tool_calls=(ToolCall(name="list", id="c1"),)),
        Message(role="tool", tool_call_id="c1", text="\n".join(f"row {n}: {SECRET}" for n in range(60))),
    ]
    view = View()
    with scope(application="desk", user="u-4"):
        for turn in range(12):
            said += [Message(role="assistant", text="Done. " * 20), Message(role="user", text=f"And {turn}? " * 10)]
            with memory.using("s") as conversation:
                conversation.replace(said)
                prepared = memory.prepare(conversation, view, Request(summariser="own"))
            view = prepared.view
            memory.answered(prepared, ask=lambda ask: SECRET)
            memory.drain()
    held = store.stats()
    assert held.originals >= 1
    assert held.summaries + held.originals >= 2 or memory.stats().summaries["made"] >= 1
    assert store.purge(user="somebody else") == 0
    assert store.purge(user="u-4") == 1
    after = store.stats()
    assert (after.sessions, after.summaries, after.originals) == (0, 0, 0)
    memory.close()
    assert b"MELON" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
