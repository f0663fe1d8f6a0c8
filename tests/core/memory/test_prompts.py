"""What a summariser is asked, and shown: all of it, the tools' part shortened, the rules said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.memory.prompts import block_prompt, chunks, extractive, instruction, merge_prompt, transcript
from tokenwise_core.messages import Message, ToolCall
from tokenwise_core.tokens import TokenCounter

count = TokenCounter.for_model("gpt-4o").text
TALK = [
    Message(role="user", text="Move my flight HAT084 to May 27.", name="Ana"),
    Message(role="assistant", tool_calls=(ToolCall(name="move", arguments='{"flight":"HAT084"}', id="c1"),)),
    Message(role="tool", text="row " * 400 + "end of rows", tool_call_id="c1"),
    Message(role="assistant", text="Moved; it costs $80."),
]


@pytest.mark.parametrize(
    "prompt", [block_prompt("…talk…", max_words=90), merge_prompt(["a", "b"], max_words=90), instruction(max_words=90)]
)
def test_every_prompt_asks_for_a_bounded_list_only_and_forbids_tools(prompt: str) -> None:
    assert "list" in prompt.casefold()
    assert "at most 90 words" in prompt.casefold()
    assert "the list only" in prompt or "nothing but the list" in prompt
    assert "call no tool" in prompt


@pytest.mark.parametrize("prompt", [block_prompt("…"), instruction()])
def test_what_to_list_is_said_by_kind(prompt: str) -> None:
    for kind in ("decisions", "preferences", "errors", "names", "numbers", "dates", "open points"):
        assert kind in prompt
    assert "constraints" in prompt or "rules" in prompt
    assert "did not work" in prompt or "dead ends" in prompt


def test_an_earlier_summary_is_shown_and_carried_on() -> None:
    prompt = block_prompt("new talk", "- Ana lives in Rome")
    assert "- Ana lives in Rome" in prompt
    assert "still hold" in prompt
    assert "still hold" not in block_prompt("new talk")


def test_the_instruction_names_the_first_message_that_stays() -> None:
    text = instruction("And now\nsomething else: " + "x" * 200)
    assert 'all before the message that begins with "And now something else: xxx' in text
    assert "x" * 61 not in text
    assert "the conversation so far" in instruction()


def test_merging_shows_all_lists_in_their_order() -> None:
    prompt = merge_prompt(["- first", "- second"])
    assert prompt.index("- first") < prompt.index("- second")


def test_a_transcript_shows_speakers_calls_and_results() -> None:
    text = transcript(TALK, count=count)
    assert "User (Ana): Move my flight HAT084 to May 27." in text
    assert '[calls move {"flight":"HAT084"}]' in text
    assert "Result: row row" in text
    assert text.endswith("Assistant: Moved; it costs $80.")


def test_where_room_is_short_results_lose_their_middle_and_nobody_elses_words_are_touched() -> None:
    text = transcript(TALK, count=count, max_tokens=150)
    assert count(text) <= 150
    assert "characters not shown" in text
    assert "end of rows" in text
    assert "Move my flight HAT084 to May 27." in text
    assert "Moved; it costs $80." in text
    spoken = [Message(role="user", text="word " * 300)]
    assert transcript(spoken, count=count, max_tokens=20) == transcript(spoken, count=count)


def test_of_several_results_only_the_long_ones_are_shortened() -> None:
    results = [Message(role="tool", text=text) for text in ("short one", "long " * 300, "longer " * 500)]
    text = transcript(results, count=count, max_tokens=200)
    assert "Result: short one\n" in text
    assert text.count("characters not shown") == 2


def test_chunks_cut_between_messages() -> None:
    messages = [Message(role="user", text=f"message {i} " * 10) for i in range(20)]
    parts = chunks(messages, count=count, max_tokens=120)
    assert len(parts) > 1
    assert "\n".join(parts) == transcript(messages, count=count)
    assert all(count(part) <= 120 for part in parts)


def test_a_message_longer_than_a_chunk_is_split_at_a_blank_and_each_part_names_its_speaker() -> None:
    parts = chunks([Message(role="user", text="word " * 500, name="Ana")], count=count, max_tokens=100)
    assert len(parts) > 4
    assert all(part.startswith("User (Ana): word") for part in parts)
    assert all(count(part) <= 100 for part in parts)


messages = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant", "tool"]),
        text=st.one_of(st.text(max_size=300), st.integers(1, 200).map(lambda n: "some words\n" * n)),
    ),
    max_size=8,
)


@given(messages, st.integers(30, 200))
def test_chunks_together_show_every_character(talk: list[Message], max_tokens: int) -> None:
    parts = chunks(talk, count=count, max_tokens=max_tokens)
    assert all(count(part) <= max_tokens for part in parts)

    def letters(text: str) -> str:
        for speaker in ("User:", "Assistant:", "Result:"):
            text = text.replace(speaker, "")
        return "".join(text.split())

    assert letters("".join(parts)) == letters("".join(message.text for message in talk))


def test_without_a_model_a_summary_is_made_of_the_conversations_own_sentences() -> None:
    talk = [
        Message(role="user", text="Hello there! My order 4711 must arrive before 2026-03-09."),
        Message(role="tool", text="internal 999", tool_call_id="c"),
        Message(role="assistant", text="Sure. Let me have a look at that for you."),
    ]
    summary = extractive(talk, "- Ana lives in Rome", max_tokens=40, count=count)
    assert summary.startswith("- Ana lives in Rome\n")
    assert "order 4711 must arrive before 2026-03-09" in summary
    assert "999" not in summary
    assert count(summary) <= 40


def test_an_earlier_summary_takes_half_the_room_at_most() -> None:
    earlier = "\n".join(f"- Fact {i}: order {i * 37} was paid on 2026-01-{i % 28 + 1:02}." for i in range(40))
    summary = extractive([Message(role="user", text="I moved to 12 Elm Street.")], earlier, max_tokens=60, count=count)
    assert count(summary) <= 60
    assert "12 Elm Street" in summary
    assert "order" in summary


@given(messages, st.text(max_size=200), st.integers(0, 120))
def test_an_extractive_summary_never_exceeds_its_limit(talk: list[Message], earlier: str, max_tokens: int) -> None:
    summary = extractive(talk, earlier, max_tokens=max_tokens, count=count)
    assert count(summary) <= max_tokens
    assert summary == extractive(talk, earlier, max_tokens=max_tokens, count=count)
