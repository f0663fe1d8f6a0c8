from __future__ import annotations

import pytest

from tests.core.memory.replaying import RATES, STRATEGIES, WORDS, Life, words
from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Decay, Dedupe, Hybrid, Importance, Memory, NoCut, Priority, Put, Summary, Window
from tokenwise_core.memory.presets import PRESETS, seed_preset
from tokenwise_core.memory.request import Prepared
from tokenwise_core.memory.situation import Strategy
from tokenwise_core.memory.strategies.importance import points
from tokenwise_core.messages import Message, Tag, ToolCall

SYSTEM = Message(role="system", text="You help with orders.")


def life(strategy: Strategy, *, target: int = 400, hard: int | None = None, rates: str = "C") -> Life:
    """A conversation whose provider caches nothing: a cut pays at once; or ("A") caches on Claude's terms."""
    memory = Memory(strategy, target_tokens=target, max_tokens=hard, rates=RATES[rates], recall=None, counter=WORDS)  # type: ignore[arg-type]
    return Life(memory, fixed=0)


def user(text: str, **more: object) -> Message:
    return Message(role="user", text=text, **more)  # type: ignore[arg-type]


def said(text: str, **more: object) -> Message:
    return Message(role="assistant", text=text, **more)  # type: ignore[arg-type]


def long(text: str, tokens: int = 50) -> str:
    return f"{text} {'and so on ' * ((4 * tokens - len(text)) // 10)}".strip()


def chat(turns: int, tokens: int = 50) -> list[Message]:
    return [
        SYSTEM,
        *(m for n in range(turns) for m in (user(long(f"ask {n}", tokens)), said(long(f"say {n}", tokens)))),
    ]


def texts(prepared: Prepared, messages: list[Message]) -> list[str]:
    return [part.text if message is None else message.text for part, message in prepared.plan.shown(messages)]


# All of them ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_below_the_soft_limit_nothing_is_touched(name: str) -> None:
    prepared = life(STRATEGIES[name](), target=10_000, hard=20_000).request(chat(5))
    assert prepared.plan.changes_nothing
    assert prepared.outcome.reason == ""


@pytest.mark.parametrize("name", STRATEGIES)
def test_at_the_hard_limit_the_context_fits_and_says_why(name: str) -> None:
    talk = life(STRATEGIES[name](), target=400, hard=600, rates="A")
    prepared = talk.request([*chat(20), user("and now?")])
    assert prepared.outcome.after <= 600
    assert prepared.outcome.reason
    assert talk.problems == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_question_longer_than_the_hard_limit_goes_out_and_the_notes_say_by_how_much(name: str) -> None:
    talk = life(STRATEGIES[name](), target=100, hard=200)
    messages = [*chat(4), user(long("explain this", 300))]
    prepared = talk.request(messages)
    assert messages[-1].text in texts(prepared, messages)
    over = prepared.outcome.after - 200
    assert any(f"exceeds max_tokens by {over}" in note for note in prepared.outcome.notes)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("no cut", "dedupe")])
def test_where_prefixes_are_cached_nothing_is_cut_before_it_pays(name: str) -> None:
    talk, messages = life(STRATEGIES[name](), target=600, rates="A"), chat(5)
    talk.request(messages)
    longer = [*messages, user(long("and now?")), said(long("now"))]
    assert talk.request(longer).outcome.reason == ""  # who knows if more than one will follow


# Each -----------------------------------------------------------------------------------------------------------------


def test_no_cut_sends_everything_however_much_is_above_the_soft_limit() -> None:
    messages = [*chat(20), user("and now?")]
    assert life(NoCut()).request(messages).plan.changes_nothing


def test_the_window_shows_the_newest_from_a_users_message_on_and_says_what_is_missing() -> None:
    messages = [*chat(10), user("and now?")]
    shown = texts(life(Window()).request(messages), messages)
    assert shown[0] == SYSTEM.text
    assert shown[1] == "[18 earlier messages are not shown]"
    assert shown[2].startswith("ask 9")
    assert len(shown) == 5


def test_the_window_stands_still_between_its_marks() -> None:
    talk, messages, moved = life(Window(), target=600), chat(3), 0
    for n in range(40):
        messages = [*messages, user(long(f"ask {n}")), said(long(f"say {n}"))]
        moved += talk.request(messages).outcome.reason != ""
    assert 8 <= moved <= 16  # half of 600 is three turns: every third request, not each
    assert talk.problems == []


def test_the_window_keeps_two_messages_however_small_it_is() -> None:
    messages = [*chat(10), user("and now?")]
    shown = texts(life(Window(), target=20).request(messages), messages)
    assert [text.split(" and")[0] for text in shown[-2:]] == ["say 9", "and now?"] or len(shown) >= 4
    assert shown[-2].startswith("say 9")


def test_the_window_never_begins_between_a_call_and_its_result() -> None:
    call = said("", tool_calls=(ToolCall(name="look", id="a", arguments="{}"),))
    result = Message(role="tool", tool_call_id="a", text=long("found", 100))
    messages = [*chat(8), user("look it up"), call, result]
    talk = life(Window(), target=150)
    shown = texts(talk.request(messages), messages)
    assert result.text in shown
    assert "look it up" in shown
    assert talk.problems == []


def test_the_least_important_goes_first_wherever_it_stands() -> None:
    decision = user(long("We decided to refund £10.90 for order ORD-1234 on 7 May."))
    messages = [SYSTEM, decision, *chat(10)[1:], user("and now?")]
    shown = texts(life(Importance()).request(messages), messages)
    assert decision.text in shown
    assert not any(text.startswith("ask 0") for text in shown)


def test_of_two_as_important_the_older_goes() -> None:
    messages = [*chat(10), user("and now?")]
    shown = texts(life(Importance()).request(messages), messages)
    assert [text[:5] for text in shown if text.startswith(("ask", "say"))] == ["say 8", "ask 9", "say 9"]


def test_errors_decisions_and_values_make_a_text_important() -> None:
    assert points("thanks, that is nice") == 0
    assert points("it failed with a TimeoutError") >= 3
    assert points("we decided to go with Postgres") >= 3
    assert points("call +43 660 1234567 before 7 May 2026") > points("call me before long")


def test_ones_own_score_of_importance_counts() -> None:
    def score(message: Message) -> float:
        return float(message.text.startswith("ask 2"))

    messages = [*chat(10), user("and now?")]
    assert any(text.startswith("ask 2") for text in texts(life(Importance(score=score)).request(messages), messages))


def test_what_has_priority_fills_the_context_in_its_old_order() -> None:
    def plan(text: str) -> Message:
        return said(long(text), tags=(Tag(component="history", source="architect"),))

    rest = chat(12)
    messages = [SYSTEM, plan("first plan"), *rest[1:12], plan("second plan"), *rest[12:], user("and now?")]
    shown = texts(life(Priority(priority={"architect": 2.0}), target=500).request(messages), messages)
    plans = [text[:6] for text in shown if "plan" in text]
    assert plans == ["first ", "second"]
    assert shown[-1] == "and now?"


def test_priority_by_a_function_counts() -> None:
    messages = [*chat(10), user("and now?")]
    strategy = Priority(priority=lambda message: float("say 1" in message.text))
    assert any(text.startswith("say 1") for text in texts(life(strategy).request(messages), messages))


def test_what_decays_leaves_a_line_and_the_newest_stays() -> None:
    first = user("The allergy is to peanuts and the budget is £300 at most.")
    messages = [SYSTEM, first, *chat(30)[1:], user("and now?")]
    shown = texts(life(Decay(rate=0.5), target=400).request(messages), messages)
    assert shown[-2].startswith("say 29")
    assert first.text not in shown
    assert any(text.startswith("[Summary of") and "£300" in text for text in shown)


def test_decay_by_age_and_importance_is_the_same_each_time() -> None:
    messages = [*chat(30), user("and now?")]
    plans = [life(Decay()).request(messages).plan for _ in range(3)]
    assert plans[0] == plans[1] == plans[2]


def test_a_message_that_says_the_same_again_is_left_out_and_the_first_stays() -> None:
    terms = long("Our terms of delivery are that each parcel leaves within a day and comes with a label")
    messages = [SYSTEM, said(terms), *chat(4)[1:], said(terms), user("fine"), said("good"), user("and now?")]
    shown = texts(life(Dedupe(), target=200).request(messages), messages)
    assert shown.count(terms) == 1
    assert shown.index(terms) == 1


def test_a_message_that_differs_by_a_number_is_no_repeat() -> None:
    ten, nine = (long(f"The parcel to Graz weighs {n} kg and costs 12 euros, it is on its way") for n in (10, 9))
    messages = [SYSTEM, said(ten), *chat(4)[1:], said(nine), user("fine"), said("good"), user("and now?")]
    shown = texts(life(Dedupe(), target=200).request(messages), messages)
    assert ten in shown
    assert nine in shown


def test_a_short_answer_is_no_repeat() -> None:
    messages = [*chat(6), user("do it?"), said("Yes."), user("really?"), said("Yes."), user("and now?")]
    assert texts(life(Dedupe(), target=200).request(messages), messages).count("Yes.") == 2


def grown(talk: Life, turns: int, tokens: int = 50) -> list[Message]:
    """Let a conversation grow, each summary ready before the next request."""
    messages = [SYSTEM]
    for n in range(turns):
        messages = [*messages, user(long(f"ask {n}", tokens))]
        talk.answer(talk.request(messages))
        assert talk.memory.drain()
        messages = [*messages, said(long(f"say {n}", tokens))]
    return messages


def test_a_summary_stands_for_what_is_old_and_the_recent_share_stays_verbatim() -> None:
    talk = life(Summary(recent_share=0.5), target=800, rates="A")
    talk.ask = lambda ask: "- they spoke of orders"
    messages = grown(talk, 100)
    shown = texts(talk.requests[-1], messages)
    assert "they spoke of orders" in shown[1]
    assert sum(map(words, shown[2:])) >= 400
    assert talk.problems == []


def test_a_summary_takes_the_one_before_in() -> None:
    talk = life(Summary(), target=800, rates="A")
    asked: list[str] = []
    talk.ask = lambda ask: asked.append(ask.prompt) or f"- summary {len(asked)}"  # type: ignore[func-returns-value]
    grown(talk, 160)
    assert len(asked) >= 2
    assert len(talk.view.summaries) == 1
    assert "summary 1" in asked[1]


def test_a_hybrid_summarises_only_from_its_turns_on() -> None:
    for after, summarised in ((10, True), (1_000, False)):
        talk = life(Hybrid(after_turns=after), target=800, rates="A")
        talk.ask = lambda ask: "- they spoke of orders"
        grown(talk, 100)
        assert any("summary" in one.outcome.reason for one in talk.requests) is summarised


def test_a_hybrid_lets_the_least_important_go_where_no_summary_is_due() -> None:
    messages = [*chat(8), user("and now?")]
    prepared = life(Hybrid(after_turns=10)).request(messages)
    assert prepared.outcome.reason == "importance"


def test_one_strategy_after_another_goes_on_from_the_same_view() -> None:
    talk, messages = life(Window()), [*chat(10), user("and now?")]
    talk.request(messages)
    for name in STRATEGIES:
        talk.memory.strategy = STRATEGIES[name]()
        messages = [*messages, said(long("so")), *chat(4)[1:], user("and now?")]
        talk.request(messages)
    assert talk.problems == []
    assert talk.memory.stats().failures == {}


def test_a_note_is_a_message_of_ours_that_bears_the_mark_of_what_was_saved() -> None:
    prepared = life(Window()).request([*chat(10), user("and now?")])
    assert [part.component for part in prepared.plan.parts if isinstance(part, Put)] == ["summary"]
    assert prepared.mark is not None
    assert {one.reason for one in prepared.outcome.dropped} == {"left out"}


# Presets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", PRESETS)
def test_each_preset_makes_a_memory(row: str) -> None:
    talk = Life(Memory(**seed_preset(row), recall=None), fixed=0)
    assert talk.request(chat(3)).plan.changes_nothing


def test_an_unknown_preset_says_which_there_are() -> None:
    with pytest.raises(BadInput, match="S1-15"):
        seed_preset("S9-99")
