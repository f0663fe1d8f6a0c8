"""What core has seen of a list of messages: known ones are recognised, changed ones found, none is touched."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from tokenwise_core.memory import Memory, Plan, Swap, View
from tokenwise_core.memory.economics import Account
from tokenwise_core.memory.views import Views
from tokenwise_core.messages import Message
from tokenwise_langchain.memory import mirror
from tokenwise_langchain.memory.applied import applied
from tokenwise_langchain.memory.mirror import Mirrors


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of messages that were read."""
    positions: list[int] = []
    project = mirror.to_message
    monkeypatch.setattr(mirror, "to_message", lambda fields, at: positions.append(at) or project(fields, at))
    return positions


def talk() -> list[BaseMessage]:
    call = {"name": "look", "args": {"order": "1"}, "id": "c"}
    return [
        HumanMessage("Hello", id="1"),
        AIMessage([{"type": "text", "text": "Let me look."}], tool_calls=[call], id="2"),
        ToolMessage("Sent.", tool_call_id="c", id="3"),
        AIMessage("It was sent.", id="4", response_metadata={"model_name": "m"}),
    ]


def seen(mirrors: Mirrors, messages: list[BaseMessage], session: str | None = "s") -> list[str]:
    with mirrors.using(session, messages) as (conversation, _):
        return [message.text for message in conversation.messages]


def test_known_messages_are_not_read_again_be_they_the_same_objects_or_equal_ones(read: list[int]) -> None:
    mirrors, messages = Mirrors(Memory()), talk()
    seen(mirrors, messages)
    assert read == [0, 1, 2, 3]
    seen(mirrors, messages)
    seen(mirrors, talk())
    seen(mirrors, [*talk(), HumanMessage("Thanks.")])
    assert read == [0, 1, 2, 3, 4]


def edited(messages: list[BaseMessage], at: int, **fields: Any) -> list[BaseMessage]:
    return [one.model_copy(update=fields) if n == at else one for n, one in enumerate(messages)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (edited(talk(), 0, content="Goodbye"), ["Goodbye", "Let me look.", "Sent.", "It was sent."]),
        (talk()[:2], ["Hello", "Let me look."]),
        (talk()[2:], ["Sent.", "It was sent."]),
        ([], []),
    ],
)
def test_edited_removed_and_rewritten_histories_are_taken_up_where_they_differ(
    changed: list[BaseMessage], expected: list[str]
) -> None:
    mirrors = Mirrors(Memory())
    seen(mirrors, talk())
    assert seen(mirrors, changed) == expected
    assert seen(mirrors, talk()) == ["Hello", "Let me look.", "Sent.", "It was sent."]


def test_calls_that_a_human_revised_in_place_are_an_edit(read: list[int]) -> None:
    mirrors, messages = Mirrors(Memory()), talk()
    seen(mirrors, messages)
    messages[1].tool_calls = [{"name": "look", "args": {"order": "2"}, "id": "c"}]  # type: ignore[attr-defined]
    with mirrors.using("s", messages) as (conversation, _):
        assert conversation.messages[1].tool_calls[0].arguments == '{"order": "2"}'


def test_blocks_that_were_added_in_place_are_an_edit() -> None:
    mirrors, messages = Mirrors(Memory()), talk()
    seen(mirrors, messages)
    messages[1].content.append({"type": "text", "text": " Now."})  # type: ignore[union-attr, arg-type]
    assert seen(mirrors, messages)[1] == "Let me look. Now."


def test_what_no_model_is_shown_is_no_edit() -> None:
    mirrors = Mirrors(Memory())
    seen(mirrors, talk())
    with mirrors.using("s", talk()) as (conversation, _):
        known = conversation.messages[3]
    with mirrors.using("s", edited(talk(), 3, response_metadata={"other": 1}, id="9")) as (conversation, _):
        assert conversation.messages[3] is known


def test_values_that_refuse_to_be_compared_are_read_instead() -> None:
    class Stubborn:
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]

    def with_one() -> list[BaseMessage]:
        return [HumanMessage("Hello", additional_kwargs={"array": Stubborn()}), *talk()[1:]]

    mirrors = Mirrors(Memory())
    assert seen(mirrors, with_one()) == seen(mirrors, with_one()) == ["Hello", "Let me look.", "Sent.", "It was sent."]


def test_what_another_adapter_made_of_the_conversation_is_made_anew() -> None:
    memory = Memory()
    mirrors = Mirrors(memory)
    seen(mirrors, talk())
    with memory.using("s") as conversation:
        conversation.sync(4, [Message(role="user", text="Somebody else's.", index=4)])
    assert seen(mirrors, talk()) == ["Hello", "Let me look.", "Sent.", "It was sent."]


def test_two_borrowers_at_once_have_a_conversation_each() -> None:
    mirrors = Mirrors(Memory())
    with mirrors.using("s", talk()) as (one, _), mirrors.using("s", talk()[:1]) as (other, _):
        assert (len(one), len(other)) == (4, 1)
    assert len(seen(mirrors, talk())) == 4


def test_a_conversation_of_nobodys_leaves_nothing_behind() -> None:
    memory = Memory()
    seen(Mirrors(memory), talk(), None)
    assert len(memory._conversations) == 0


def test_a_copy_with_another_text_is_made_once_and_again_when_the_message_has_changed() -> None:
    mirrors, messages = Mirrors(Memory()), talk()
    plan = Plan(parts=(Swap(2, "cut", 5),), tokens=5)
    with mirrors.using("s", messages) as (_, mirrored):
        first = applied(plan, messages, mark=None, copies=mirrored.copies)
    with mirrors.using("s", talk()) as (_, mirrored):
        assert applied(plan, talk(), mark=None, copies=mirrored.copies)[0] is first[0]
    with mirrors.using("s", edited(talk(), 2, artifact="new")) as (_, mirrored):
        assert 2 not in mirrored.copies
    assert (first[0].text, messages[2].text) == ("cut", "Sent.")


def test_a_view_goes_on_only_where_it_holds() -> None:
    memory = Memory()
    mirrors, views = Mirrors(memory), Views(memory)
    with mirrors.using("s", talk()) as (conversation, _):
        view = View(account=Account(requests=7)).seen(conversation)
        views.keep("s", view)
        assert views.of(conversation) is view
    with mirrors.using("s", [HumanMessage("Another conversation.")]) as (conversation, _):
        assert views.of(conversation) == View(), "under the same name"


def test_the_image_in_a_shortened_result_stays_and_so_does_the_mark_for_the_providers_cache() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    mark = {"type": "ephemeral"}
    content: list[Any] = [{"type": "text", "text": "a b c", "cache_control": mark}, image]
    given = ToolMessage(content, tool_call_id="c", id="3")
    shown = applied(Plan(parts=(Swap(0, "a …", 3),)), [given], mark=None, copies={})
    assert shown[0].content == [{"type": "text", "cache_control": mark, "text": "a …"}, image]
    assert given.content == content


def test_a_text_in_one_block_is_shortened_to_a_text() -> None:
    given = ToolMessage([{"type": "text", "text": "a b c"}], tool_call_id="c")
    assert applied(Plan(parts=(Swap(0, "a …", 3),)), [given], mark=None, copies={})[0].content == "a …"


async def test_a_long_history_that_comes_anew_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    project = mirror.to_message
    monkeypatch.setattr(
        mirror, "to_message", lambda fields, at: threads.append(threading.current_thread().name) or project(fields, at)
    )
    mirrors, here = Mirrors(Memory()), threading.current_thread().name
    long: list[BaseMessage] = [HumanMessage(f"Hello {n}") for n in range(40)]
    edited = [HumanMessage("Good day"), *(HumanMessage(f"And {n}") for n in range(40))]
    for messages in (long, edited):
        threads.clear()
        async with mirrors.ausing("s", messages) as (conversation, _):
            assert len(conversation) == len(messages)
        assert threads
        assert here not in threads
    async with mirrors.ausing("s", [*edited, HumanMessage("One more")]) as (conversation, _):
        assert threads[-1] == here  # a short one needs no thread
