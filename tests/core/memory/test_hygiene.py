from __future__ import annotations

from tests.core.memory.replaying import RATES, WORDS, Life, words
from tokenwise_core.memory import Memory, NoCut, Swap, ToolResults, View
from tokenwise_core.memory.conversation import AROUND_MESSAGE, MEDIUM_TOKENS, Conversation, message_counter
from tokenwise_core.memory.hygiene import tidied
from tokenwise_core.memory.situation import Limits, Situation
from tokenwise_core.memory.swaps import swap
from tokenwise_core.memory.tool_results import digest
from tokenwise_core.messages import Media, Message, ToolCall

LINES = "\n".join(f"{n:04} parcel {n} left the warehouse in Graz" for n in range(600))


def step(n: int, text: str) -> list[Message]:
    return [
        Message(role="assistant", tool_calls=(ToolCall(name="look", id=f"c{n}", arguments="{}"),)),
        Message(role="tool", tool_call_id=f"c{n}", text=text),
    ]


def life(*, target: int = 100_000, tools: ToolResults | None = None, rates: str = "A") -> Life:
    memory = Memory(
        NoCut(), target_tokens=target, rates=RATES[rates], recall=None, counter=WORDS,
        tool_results=tools or ToolResults(max_tokens=500),
    )  # type: ignore[arg-type]  # fmt: skip
    return Life(memory, fixed=0)


ASKED = [Message(role="user", text="where is parcel 317?")]


def swaps(talk: Life) -> dict[int, str]:
    return {part.position: part.text for part in talk.requests[-1].plan.parts if isinstance(part, Swap)}


def test_a_long_result_is_shortened_before_it_is_first_sent_and_stays_so() -> None:
    talk = life()
    talk.request([*ASKED, *step(0, LINES)])
    first = swaps(talk)[2]
    assert "parcel 317" in first
    assert len(first) < len(LINES) // 4
    talk.request([*ASKED, *step(0, LINES), Message(role="assistant", text="In Graz."), *ASKED])
    assert swaps(talk) == {2: first}
    assert talk.problems == []


def test_what_was_sent_whole_stays_whole() -> None:
    talk = life()
    talk.memory.tool_results = None
    messages = [*ASKED, *step(0, LINES)]
    talk.request(messages)
    talk.memory.tool_results = ToolResults(max_tokens=500)
    talk.request([*messages, Message(role="assistant", text="In Graz."), *ASKED])
    assert swaps(talk) == {}


def test_the_whole_of_what_was_shortened_can_be_had() -> None:
    talk = life()
    talk.request([*ASKED, *step(0, LINES)])
    assert talk.memory._workers.rest(5)
    assert talk.memory.original("c", digest(LINES)) == LINES
    assert talk.memory.original("c", "unknown") is None


def test_a_result_that_came_before_is_a_reference() -> None:
    text = "\n".join(f"{n} of the rules for parcels" for n in range(60))
    talk = life()
    talk.request([*ASKED, *step(0, text), *step(1, text)])
    assert list(swaps(talk)) == [4]
    assert digest(text) in swaps(talk)[4]


def test_a_result_whose_twin_has_left_the_context_is_shown() -> None:
    text = "\n".join(f"{n} of the rules for parcels" for n in range(60))
    conversation = Conversation("c", message_counter(words))
    conversation.sync(0, [*ASKED, *step(0, text), *ASKED, *step(1, text)])
    for evicted, swapped in (((), [5]), (((1, 3),), [])):
        view = View(evicted=evicted, length=3)
        now = Situation(
            conversation=conversation, view=view, limits=Limits(target=100), count=words, tools=ToolResults()
        )
        assert list(tidied(now, view).swapped) == swapped


def test_old_results_are_cleared_in_one_batch_where_that_pays_and_the_newest_stay() -> None:
    talk, messages = life(target=2_000, tools=ToolResults(max_tokens=2_000), rates="C"), list(ASKED)
    for n in range(12):
        messages += step(n, f"{n} " + LINES[: 300 * 8])
        talk.request(messages)
    cleared = [one for one in talk.requests if "tool results cleared" in one.outcome.reason]
    assert cleared
    results = [at for at, message in enumerate(messages) if message.role == "tool"]
    assert not set(results[-3:]) & set(swaps(talk))
    assert all("cleared" in text for text in swaps(talk).values())
    assert talk.problems == []


def test_where_prefixes_are_cached_clearing_waits_until_it_pays() -> None:
    cached, plain = life(target=2_000, rates="A"), life(target=2_000, rates="C")
    for talk in (cached, plain):
        messages = list(ASKED)
        for n in range(20):
            messages += step(n, f"{n} " + LINES[: 300 * 8])
            talk.request(messages)
    times = [sum("cleared" in one.outcome.reason for one in talk.requests) for talk in (cached, plain)]
    assert times[0] < times[1]
    assert cached.problems == plain.problems == []


def test_the_images_of_a_shortened_result_are_counted_for_they_stay() -> None:
    conversation = Conversation("c", message_counter(words))
    result = Message(role="tool", tool_call_id="c0", text=LINES, media=(Media(kind="image"),))
    conversation.sync(0, [*ASKED, step(0, "")[0], result])
    swapped = swap(conversation, 2, "clear", count=words, tools=ToolResults())
    assert swapped.tokens == words(swapped.text) + MEDIUM_TOKENS + AROUND_MESSAGE
