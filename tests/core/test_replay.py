"""The replayed model can only answer from what it really received."""

import json

import pytest

from tokenwise_core.demo.workload.values import Conversation, Evidence, RecordedCall, Turn
from tokenwise_core.memory.prompts import block_prompt, instruction, merge_prompt
from tokenwise_core.messages import Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.testing import SUMMARY_PREFIX, UNKNOWN, Replay, ReplayAnswer
from tokenwise_core.testing.structured import is_valid
from tokenwise_core.tokens import TokenCounter

WARRANTY = Turn(
    id="warranty",
    user="How long is the warranty on the X200?",
    kind="document",
    right="The X200 has 30 months of warranty.",
    wrong="The X200 has 12 months of warranty.",
    dont_know="I cannot find the warranty.",
    evidence=(Evidence(kind="document", id="doc-1", wordings=("30 months", "two and a half years")),),
)
ORDER = Turn(
    id="order",
    user="Where is my order?",
    kind="tool",
    right="Order 77 is in Lyon.",
    wrong="Order 77 was delivered.",
    dont_know="I cannot see your order.",
    steps=(
        (
            RecordedCall(name="find_order", arguments={"id": 77}),
            RecordedCall(name="find_user", arguments={"name": "Ana"}),
        ),
        (RecordedCall(name="track", arguments={"parcel": "P-9"}),),
    ),
    evidence=(
        Evidence(kind="tool", id="find_order", wordings=("P-9",)),
        Evidence(kind="tool", id="track", wordings=("Lyon",)),
    ),
)
HARD = Turn(
    id="hard",
    user="Which plan suits three people?",
    kind="document",
    right="The team plan.",
    wrong="The solo plan.",
    dont_know="I do not know.",
    cheap_is_right=False,
)
WORDED = Turn(
    id="worded",
    user="Is delivery free?",
    kind="small_talk",
    right="Yes, delivery is free of charge.",
    wrong="No.",
    dont_know="I do not know.",
    cheap="Yep, free.",
)
TURNS = (WARRANTY, ORDER, HARD, WORDED)
PAGE = "The X200 is covered for 30 months from the date of purchase."


def tool(name: str, /, **properties: str) -> ToolDefinition:
    schema = {name: {"type": kind} for name, kind in properties.items()}
    return ToolDefinition(
        name=name,
        parameters={"type": "object", "properties": schema, "required": list(schema), "additionalProperties": False},
    )


TOOLS = (tool("find_order", id="integer"), tool("find_user", name="string"), tool("track", parcel="string"))


def user(text: str) -> Message:
    return Message(role="user", text=text)


def system(text: str) -> Message:
    return Message(role="system", text=text)


def strong(**more: object) -> Replay:
    return Replay(TURNS, tier="strong", counter=word_counter(), **more)  # type: ignore[arg-type]


def cheap() -> Replay:
    return Replay(TURNS, tier="cheap", counter=word_counter())


def words(text: str) -> int:
    return len(text.split())


def word_counter() -> TokenCounter:
    return TokenCounter(words, model="replay")


def ask(replay: Replay, *messages: Message, **more: object) -> ReplayAnswer:
    return replay.answer(Prompt(messages=messages, **more))  # type: ignore[arg-type]


# What it answers from


def test_the_recorded_answer_needs_its_evidence_in_the_prompt() -> None:
    with_page = ask(strong(), system(PAGE), user(WARRANTY.user))
    without = ask(strong(), system("Be kind."), user(WARRANTY.user))
    assert with_page.answer.text == WARRANTY.right
    assert [item.id for item in with_page.found] == ["doc-1"]
    assert without.answer.text == WARRANTY.dont_know
    assert [item.id for item in without.missing] == ["doc-1"]


@pytest.mark.parametrize(
    "text", ["covered for 30\n  MONTHS", "Summary: warranty of two and a half years.", "(30 months)", "30 months."]
)
def test_any_wording_of_the_evidence_will_do(text: str) -> None:
    assert ask(strong(), system(text), user(WARRANTY.user)).answer.text == WARRANTY.right


@pytest.mark.parametrize("text", ["130 months", "1.30 months", "30 monthss", "30 mon", "two and a half"])
def test_a_wording_counts_only_as_whole_tokens(text: str) -> None:
    assert ask(strong(), system(text), user(WARRANTY.user)).answer.text == WARRANTY.dont_know


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_evidence_may_stand_in_any_message_but_the_question(role: str) -> None:
    message = Message(role=role, text=PAGE)  # type: ignore[arg-type]
    assert ask(strong(), message, user(WARRANTY.user)).answer.text == WARRANTY.right


def test_a_user_cannot_hand_over_the_evidence_in_the_question_itself() -> None:
    turn = Turn(
        id="self",
        user="Is it 30 months for the X200?",
        kind="document",
        right="Yes.",
        wrong="No.",
        dont_know="I do not know.",
        evidence=WARRANTY.evidence,
    )
    replay = Replay((turn,), tier="strong", counter=word_counter())
    assert ask(replay, user(turn.user)).answer.text == turn.dont_know
    assert ask(replay, system(PAGE), user(turn.user)).answer.text == turn.right


def test_what_a_template_puts_around_the_question_is_evidence() -> None:
    rendered = f"Context:\n{PAGE}\nAnswer the query.\nQuery: {WARRANTY.user}\nAnswer: "
    bare = f"Context:\nnone\nAnswer the query.\nQuery: {WARRANTY.user}\nAnswer: "
    assert ask(strong(), user(rendered)).answer.text == WARRANTY.right
    assert ask(strong(), user(bare)).answer.text == WARRANTY.dont_know


def test_evidence_does_not_run_over_the_seam_of_two_messages() -> None:
    answer = ask(strong(), system("It is 30"), Message(role="assistant", text="months, I think"), user(WARRANTY.user))
    assert answer.answer.text == WARRANTY.dont_know


def test_the_longest_recorded_question_in_a_template_wins() -> None:
    short = Turn(id="s", user="Is it free of charge?", kind="small_talk", right="short", wrong="w", dont_know="d")
    long = Turn(
        id="l", user="And for members, is it free of charge?", kind="small_talk", right="long", wrong="w", dont_know="d"
    )
    replay = Replay((short, long), tier="strong", counter=word_counter())
    assert ask(replay, user(f"Query: {long.user} Answer:")).turn_id == "l"
    assert ask(replay, user(f"Query: {short.user} Answer:")).turn_id == "s"


def test_of_equal_questions_the_one_of_the_prompts_conversation_is_answered() -> None:
    def conversation(name: str, opening: str) -> Conversation:
        first = Turn(id=f"{name}-1", user=opening, kind="statement", right="Noted.", wrong="w", dont_know="d")
        second = Turn(
            id=f"{name}-2", user="And what is mine?", kind="recall", right=f"It is {name}.", wrong="w", dont_know="d"
        )
        return Conversation(id=name, user=name, title=name, agent="a", task="t", style="agent", turns=(first, second))

    talks = [conversation("red", "My colour is red"), conversation("blue", "My colour is blue")]
    replay = Replay(talks, tier="strong", counter=word_counter())
    for name in ("red", "blue"):
        history = (user(f"My colour is {name}"), Message(role="assistant", text="Noted."))
        assert ask(replay, *history, user("And what is mine?")).turn_id == f"{name}-2"


def test_an_unknown_question_gets_an_honest_answer() -> None:
    answered = ask(strong(), system(PAGE), user("What is the meaning of life?"))
    assert (answered.answer.text, answered.turn_id, answered.why) == (UNKNOWN, None, "not recorded")


def test_a_prompt_without_a_user_message_is_not_recorded() -> None:
    assert ask(strong(), system(PAGE)).answer.text == UNKNOWN


# Two tiers


def test_the_tiers_play_their_own_recorded_answers() -> None:
    assert ask(strong(), user(HARD.user)).answer.text == HARD.right
    assert ask(cheap(), user(HARD.user)).answer.text == HARD.wrong
    assert ask(strong(), user(WORDED.user)).answer.text == WORDED.right
    assert ask(cheap(), user(WORDED.user)).answer.text == WORDED.cheap


def test_without_evidence_the_cheap_model_sometimes_guesses_and_always_the_same() -> None:
    turns = [
        Turn(id=f"t{i}", user=f"What is number {i}?", kind="document", right="r", wrong="wrong", dont_know="unsure",
             evidence=WARRANTY.evidence)
        for i in range(60)
    ]  # fmt: skip
    said = [[ask(Replay(turns, tier=tier, counter=word_counter()), user(t.user)).answer.text for t in turns]
            for tier in ("cheap", "cheap", "strong")]  # fmt: skip
    assert said[0] == said[1]
    assert 10 <= said[0].count("wrong") <= 30
    assert set(said[0]) == {"wrong", "unsure"}
    assert set(said[2]) == {"unsure"}


# Tools


def calls(answered: ReplayAnswer) -> list[tuple[str, object]]:
    return [(call.name, json.loads(call.arguments)) for call in answered.answer.tool_calls]


def after_first_round() -> tuple[Message, ...]:
    asked = (
        ToolCall(name="find_order", arguments='{"id":77}', id="a"),
        ToolCall(name="find_user", arguments="{}", id="b"),
    )
    return (
        user(ORDER.user),
        Message(role="assistant", tool_calls=asked),
        Message(role="tool", text="parcel P-9", tool_call_id="a"),
        Message(role="tool", text="Ana", tool_call_id="b"),
    )


def test_recorded_calls_are_made_round_by_round_and_then_answered_from_the_results() -> None:
    replay = strong()
    first = ask(replay, user(ORDER.user), tools=TOOLS)
    assert calls(first) == [("find_order", {"id": 77}), ("find_user", {"name": "Ana"})]
    assert first.answer.finish_reason == "tool_calls"
    assert len({call.id for call in first.answer.tool_calls}) == 2
    second = ask(replay, *after_first_round(), tools=TOOLS)
    assert calls(second) == [("track", {"parcel": "P-9"})]
    tracked = (Message(role="assistant", tool_calls=second.answer.tool_calls), Message(role="tool", text="now in Lyon"))
    assert ask(replay, *after_first_round(), *tracked, tools=TOOLS).answer.text == ORDER.right


def test_a_call_is_made_only_where_its_tool_is_offered() -> None:
    assert calls(ask(strong(), user(ORDER.user), tools=TOOLS[:1])) == [("find_order", {"id": 77})]
    assert ask(strong(), user(ORDER.user)).answer.text == ORDER.dont_know


def test_a_call_is_made_only_where_it_is_valid_under_the_offered_schema() -> None:
    changed = (tool("find_order", id="string"), *TOOLS[1:])
    assert calls(ask(strong(), user(ORDER.user), tools=changed)) == [("find_user", {"name": "Ana"})]
    renamed = (tool("find_order", number="integer"),)
    assert ask(strong(), user(ORDER.user), tools=renamed).answer.text == ORDER.dont_know


def test_a_schema_with_references_or_without_sense_accepts_no_call() -> None:
    assert not is_valid({}, {"$ref": "https://example.com/schema.json"})
    assert not is_valid({}, {"type": 7})


def test_no_call_is_made_where_the_tool_choice_forbids_it() -> None:
    assert ask(strong(), user(ORDER.user), tools=TOOLS, options={"tool_choice": "none"}).answer.tool_calls == ()
    chosen = {"type": "function", "function": {"name": "find_user"}}
    assert calls(ask(strong(), user(ORDER.user), tools=TOOLS, options={"tool_choice": chosen})) == [
        ("find_user", {"name": "Ana"})
    ]


# Demanded forms

ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "confidence": {"type": "number", "minimum": 0.5},
        "kind": {"enum": ["fact", "guess"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "answer": {"type": "string"},
        "source": {"$ref": "#/$defs/Source"},
    },
    "required": ["confidence", "kind", "note", "answer", "source"],
    "$defs": {"Source": {"type": "object", "properties": {"ids": {"type": "array"}}, "required": ["ids"]}},
}


def test_a_demanded_schema_is_filled_with_the_answer() -> None:
    answered = ask(strong(), system(PAGE), user(WARRANTY.user), output_schema=OutputSchema(schema=ANSWER_SCHEMA))
    value = json.loads(answered.answer.text)
    assert value["answer"] == WARRANTY.right
    assert is_valid(value, ANSWER_SCHEMA)


def test_a_schema_without_room_for_the_answer_gets_plain_text() -> None:
    schema = OutputSchema(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert ask(strong(), system(PAGE), user(WARRANTY.user), output_schema=schema).answer.text == WARRANTY.right


def test_a_recorded_answer_in_json_is_given_as_recorded() -> None:
    turn = Turn(id="j", user="How many are left?", kind="document", right='{"n": 4}', wrong="w", dont_know="d")
    schema = OutputSchema(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    answered = ask(Replay((turn,), tier="strong", counter=word_counter()), user(turn.user), output_schema=schema)
    assert json.loads(answered.answer.text) == {"n": 4}


@pytest.mark.parametrize("choice", ["required", "any", "Reply", {"type": "tool", "name": "Reply"}, True])
def test_a_forced_tool_is_called_with_the_answer(choice: object) -> None:
    reply = ToolDefinition(name="Reply", parameters=ANSWER_SCHEMA)
    answered = ask(
        strong(), system(PAGE), user(WARRANTY.user), tools=(TOOLS[2], reply), options={"tool_choice": choice}
    )
    [(name, arguments)] = calls(answered)
    assert name == "Reply"
    assert arguments["answer"] == WARRANTY.right  # type: ignore[index]


# Summaries and rewritten questions

TALK = """Human: Hi, I am Ana Ruiz.
AI: Hello Ana, nice to meet you.
Human: I cannot take lactose, please remember.
AI: Noted.
Human: My order 4711 over 120.50 EUR was sent on 2026-03-04.
AI: It will be with you on 2026-03-09.
Human: Thanks!
AI: You are welcome."""


@pytest.mark.parametrize(
    "messages",
    [
        (user(f"Progressively summarize the lines of conversation provided.\n\n{TALK}\n\nNew summary:"),),
        (system("Write a concise summary about the contents of this conversation."), user(TALK)),
        (
            user("I am Ana."),
            user("My order 4711 over 120.50 EUR was sent."),
            user("Please summarise our conversation."),
        ),
        (user(f'Extract the most relevant context.\n<messages>\n<message type="human">{TALK}</message></messages>'),),
        (user(block_prompt(TALK)),),
        (user(block_prompt(TALK, "- Ana is a customer.")),),
        (user(merge_prompt(["- Ana's order is 4711.", "- It was sent on 2026-03-04."])),),
        (user("My order 4711 over 120.50 EUR was sent."), user(instruction("And what about the"))),
    ],
)
def test_a_summary_is_extractive_and_says_so(messages: tuple[Message, ...]) -> None:
    text = ask(strong(), *messages).answer.text
    assert text.startswith(SUMMARY_PREFIX)
    assert "4711" in text
    assert "summar" not in text.removeprefix(SUMMARY_PREFIX).casefold()


@pytest.mark.parametrize(
    "text",
    [
        "Summarise this text: Order 4711 is late. It left Lyon on 3 May.",
        "Please summarize the report below.\n\nOrder 4711 is late.\n\nSystem: it left Lyon on 3 May.",
        "Write a short summary of the following. Order 4711 is late. It left Lyon on 3 May.",
        "Order 4711 is late. It left Lyon on 3 May.\n\nSummarize the text above.",
    ],
)
def test_a_plain_text_is_summarised_without_its_instruction(text: str) -> None:
    summary = ask(strong(), user(text)).answer.text.removeprefix(SUMMARY_PREFIX)
    assert "Order 4711 is late." in summary
    assert "left Lyon on 3 May." in summary
    assert "ummar" not in summary


def test_a_summary_keeps_to_the_length_that_is_asked_for() -> None:
    text = ask(strong(), user(f"Summarise this in 30 tokens:\n\n{TALK}")).answer.text
    assert 5 < words(text) <= 30


def test_a_recorded_question_about_a_summary_is_a_question() -> None:
    turn = Turn(
        id="sum", user="Please summarise my plan.", kind="document", right="The plan.", wrong="w", dont_know="d"
    )
    assert ask(Replay((turn,), tier="strong", counter=word_counter()), user(turn.user)).answer.text == "The plan."


def test_a_question_in_a_page_that_speaks_of_summaries_is_a_question() -> None:
    page = "Filler. " * 90 + "Agents summarize each ticket. " + PAGE + " Filler." * 60
    assert ask(strong(), user(f"Context: {page}\nQuery: {WARRANTY.user}\nAnswer:")).answer.text == WARRANTY.right


LLAMAINDEX_CONDENSE = (
    "Given a conversation (between Human and Assistant) and a follow up message from Human, rewrite the message to be "
    "a standalone question.\n\n<Chat History>\nuser: Hi\n\n<Follow Up Message>\n{question}\n\n<Standalone question>\n"
)
LLAMAINDEX_CONDENSE_PLUS_CONTEXT = (
    "Given the following conversation, rephrase the follow up question to be a standalone question.\n"
    "  Chat History:\n  user: Hi\n  Follow Up Input: {question}\n  Standalone question:"
)


@pytest.mark.parametrize("template", [LLAMAINDEX_CONDENSE, LLAMAINDEX_CONDENSE_PLUS_CONTEXT])
def test_a_question_to_be_rewritten_comes_back_unchanged(template: str) -> None:
    assert ask(strong(), user(template.format(question=WORDED.user))).answer.text == WORDED.user


def test_a_question_is_rewritten_where_the_system_prompt_asks_for_it() -> None:
    told = system("Given a chat history and the latest user question, formulate a standalone question.")
    assert ask(strong(), told, user(WORDED.user)).answer.text == WORDED.user


# Streams


def test_a_stream_says_the_same_and_ends_with_the_usage() -> None:
    prompt = Prompt(messages=(system(PAGE), user(WARRANTY.user)))
    chunks = list(strong().stream(prompt))
    assert len(chunks) > 4
    assert "".join(chunk.text for chunk in chunks) == WARRANTY.right
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].usage, chunks[-1].finish_reason) == (strong().answer(prompt).usage, "stop")


def test_tool_calls_stream_in_fragments_that_join_to_valid_json() -> None:
    deltas = [c.tool_call for c in strong().stream(Prompt(messages=(user(ORDER.user),), tools=TOOLS)) if c.tool_call]
    joined = {i: "".join(d.arguments for d in deltas if d.index == i) for i in (0, 1)}
    assert [json.loads(joined[i]) for i in (0, 1)] == [{"id": 77}, {"name": "Ana"}]
    assert [d.name for d in deltas if d.name] == ["find_order", "find_user"]
