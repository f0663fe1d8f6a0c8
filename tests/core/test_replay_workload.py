"""The bundled workload played back: right with its evidence, and only with it."""

import json

import pytest

from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Conversation, Turn, load_workload
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.testing import Replay, ReplayAnswer
from tokenwise_core.testing.structured import is_valid

WORKLOAD = load_workload()
CONVERSATIONS = (*WORKLOAD.conversations, *WORKLOAD.long)
STRONG = Replay(WORKLOAD, tier="strong")
PAGES = {page.id: page.text for page in WORKLOAD.documents}


def asking(turn: Turn) -> Message:
    """Return the question as a RAG template renders it, with its gold pages."""
    pages = "\n".join(PAGES[page] for page in turn.documents)
    return Message(role="user", text=f"Context:\n{pages}\nQuery: {turn.user}\nAnswer: " if pages else turn.user)


def played(conversation: Conversation, replay: Replay) -> list[tuple[Turn, ReplayAnswer]]:
    """Play a conversation with its whole history, its pages and what the desk's tools really return."""
    desk = Desk()
    history = [Message(role="system", text=WORKLOAD.system_prompt)]
    answers = []
    for turn in conversation.turns:
        history.append(asking(turn))
        answered = replay.answer(Prompt(messages=tuple(history), tools=WORKLOAD.tools))
        while answered.answer.tool_calls:
            calls = answered.answer.tool_calls
            returned = [desk.call(call.name, json.loads(call.arguments)) for call in calls]
            history.append(Message(role="assistant", tool_calls=calls))
            history.extend(Message(role="tool", text=text) for text in returned)
            answered = replay.answer(Prompt(messages=tuple(history), tools=WORKLOAD.tools))
        history.append(Message(role="assistant", text=answered.answer.text))
        answers.append((turn, answered))
    return answers


def ids(conversation: Conversation) -> str:
    return conversation.id


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=ids)
def test_with_its_whole_context_every_turn_is_found_and_answered_as_recorded(conversation: Conversation) -> None:
    for turn, answered in played(conversation, STRONG):
        assert (answered.turn_id, answered.missing) == (turn.id, ())
        assert turn.is_said_by(answered.answer.text) or not turn.strong_is_right


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=ids)
def test_without_its_context_no_turn_that_needs_evidence_is_answered_rightly(conversation: Conversation) -> None:
    for turn in conversation.turns:
        bare = STRONG.answer(Prompt(messages=(Message(role="user", text=turn.user),)))
        if turn.evidence and bare.turn_id == turn.id:
            assert bare.answer.text == turn.dont_know
            assert not (turn.facts and turn.is_said_by(bare.answer.text))


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=ids)
def test_every_recorded_call_is_valid_under_the_workloads_own_tools(conversation: Conversation) -> None:
    offered = {tool.name: tool.parameters for tool in WORKLOAD.tools}
    for call in (call for turn in conversation.turns for step in turn.steps for call in step):
        assert is_valid(dict(call.arguments), offered[call.name]), call


def test_the_cheap_model_is_wrong_where_the_recording_says_so() -> None:
    cheap = Replay(WORKLOAD, tier="cheap")
    for conversation in CONVERSATIONS:
        for turn, answered in played(conversation, cheap):
            expected = (turn.cheap or turn.right) if turn.cheap_is_right else turn.wrong
            assert answered.answer.text == expected
