"""The replayed model can only answer from what it really received."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenwise_core.demo.workload.values import Conversation, Evidence, RecordedCall, Turn
from tokenwise_core.messages import Answer, Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.testing import SUMMARY_PREFIX, UNKNOWN, FakeClock, Replay, ReplayAnswer
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
    "$defs": {"Source": {"type": "object", "properties": {"ids": {"type": "array", "items": {"type": "string"}}}, "required": ["ids"]}},
}  # fmt: skip


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
    assert json.loads(
        ask(Replay((turn,), tier="strong", counter=word_counter()), user(turn.user), output_schema=schema).answer.text
    ) == {"n": 4}


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
        (user("Hi, I am Ana."), user("My order 4711 over 120.50 EUR was sent."), user("Please summarise our conversation.")),
        (user(f"Extract the most relevant context.\n<messages>\n<message type=\"human\">{TALK}</message></messages>"),),
    ],
)  # fmt: skip
def test_a_summary_is_extractive_and_says_so(messages: tuple[Message, ...]) -> None:
    text = ask(strong(), *messages).answer.text
    assert text.startswith(SUMMARY_PREFIX)
    assert "4711" in text
    assert "summar" not in text.removeprefix(SUMMARY_PREFIX).casefold()


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


@pytest.mark.parametrize(
    "text",
    [
        "Given a conversation, rewrite the message to be a standalone question.\n\n<Chat History>\nuser: Hi\n\n"
        "<Follow Up Message>\nIs delivery free?\n\n<Standalone question>\n",
        "Rephrase the follow up question to be a standalone question.\n  Chat History:\n  user: Hi\n"
        "  Follow Up Input: Is delivery free?\n  Standalone question:",
    ],
)
def test_a_question_to_be_rewritten_comes_back_unchanged(text: str) -> None:
    assert ask(strong(), user(text)).answer.text == "Is delivery free?"


# Usage


def test_usage_is_counted_from_the_prompt_received() -> None:
    counter = word_counter()
    prompt = Prompt(messages=(system(PAGE), user(WARRANTY.user)), tools=TOOLS)
    usage = Replay(TURNS, tier="cheap", counter=counter).answer(prompt).usage
    assert usage["prompt_tokens"] == counter.count(prompt).total
    assert usage["completion_tokens"] == counter.answer(Answer(text=WARRANTY.right)).total
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


def test_the_strong_model_reports_reasoning_inside_its_output() -> None:
    usage = ask(strong(), system(PAGE), user(WARRANTY.user)).usage
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 64 <= reasoning <= 512
    assert usage["completion_tokens"] == reasoning + words(WARRANTY.right)
    assert usage == ask(strong(), system(PAGE), user(WARRANTY.user)).usage


LONG = " ".join(f"w{i}" for i in range(1500))


def cached(answered: ReplayAnswer) -> int:
    return int(answered.usage["prompt_tokens_details"]["cached_tokens"])


def test_a_repeated_long_prefix_is_cached_for_five_minutes() -> None:
    clock = FakeClock()
    replay = strong(clock=clock)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 0
    clock.advance(299)
    assert cached(ask(replay, system(LONG), user(WORDED.user))) == 1408  # 1,500 in steps of 128
    clock.advance(299)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 1408  # each use renews its life
    clock.advance(300)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 0


def test_a_prefix_below_1024_tokens_is_not_cached() -> None:
    replay = strong(clock=FakeClock())
    for _ in range(2):
        assert cached(ask(replay, system(" ".join(LONG.split()[:1000])), user(HARD.user))) == 0


def test_the_cache_ends_where_the_prompt_departs() -> None:
    replay = strong(clock=FakeClock())
    ask(replay, system(LONG), user(HARD.user))
    half = " ".join([*LONG.split()[:1200], "other", *LONG.split()[1201:]])
    assert cached(ask(replay, system(half), user(HARD.user))) == 1152
    assert cached(ask(replay, system("Today is Monday. " + LONG), user(HARD.user))) == 0


def test_the_cache_reads_tools_before_the_conversation() -> None:
    replay = strong(clock=FakeClock())
    ask(replay, system(LONG), user(LONG), tools=TOOLS)
    assert cached(ask(replay, system(LONG), user(LONG), tools=TOOLS[::-1])) == 1408
    assert cached(ask(replay, system(LONG), user(LONG), tools=TOOLS)) > 2900


def test_two_models_do_not_share_a_prompt_cache() -> None:
    clock = FakeClock()
    first = strong(clock=clock)
    second = Replay(TURNS, tier="cheap", clock=clock, counter=word_counter(), prompt_cache=first.prompt_cache)
    third = Replay(TURNS, tier="strong", clock=clock, counter=word_counter(), prompt_cache=first.prompt_cache)
    ask(first, system(LONG), user(HARD.user))
    assert cached(ask(second, system(LONG), user(HARD.user))) == 0
    assert cached(ask(third, system(LONG), user(HARD.user))) > 1024


def test_anthropic_usage_adds_up_to_the_prompt() -> None:
    replay = strong(clock=FakeClock(), provider_format="anthropic")
    first, second = (ask(replay, system(LONG), user(HARD.user)).usage for _ in range(2))
    total = strong().answer(Prompt(messages=(system(LONG), user(HARD.user)))).usage["prompt_tokens"]
    for usage in (first, second):
        parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        assert sum(usage[part] for part in parts) == total
    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (1408, 0)
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, 1408)


def test_google_usage_keeps_thoughts_beside_the_candidates() -> None:
    usage = ask(strong(provider_format="google"), user(HARD.user)).usage
    assert usage["candidatesTokenCount"] == words(HARD.right)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + words(HARD.right) + usage["thoughtsTokenCount"]
    assert "cachedContentTokenCount" not in usage


def test_an_output_limit_cuts_the_answer_as_a_provider_does() -> None:
    answered = ask(strong(), user(WORDED.user), options={"max_completion_tokens": 3})
    assert answered.answer.text.split() == WORDED.right.split()[:3]
    assert answered.answer.finish_reason == "length"


# Streams, threads, copies


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


def test_many_threads_get_the_same_answers() -> None:
    replay = strong()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: ask(replay, system(f"{LONG} {i % 5}"), user(HARD.user)).answer.text, range(64))
        )
    assert set(answers) == {HARD.right}


def test_a_copy_answers_the_same_with_a_cold_prompt_cache() -> None:
    replay = strong()
    ask(replay, system(LONG), user(HARD.user))
    for twin in (copy.deepcopy(replay), pickle.loads(pickle.dumps(replay))):  # noqa: S301
        answered = ask(twin, system(LONG), user(HARD.user))
        assert (answered.answer.text, cached(answered)) == (HARD.right, 0)
