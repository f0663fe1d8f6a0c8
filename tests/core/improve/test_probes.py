"""Probes: expected facts are looked for in the context, in an extractor's answer, or by a judge."""

import pytest

from tokenwise_core.flow import Ask, arun, run
from tokenwise_core.improve.probes import Probe, ProbeReport, check, contains, judged

CONTEXT = "Ana ordered 2,000 units for $1,204.50; they ship on May 27. Use PostgreSQL, never MySQL."
KEPT = Probe("How much?", ["$1204.50", "2000"])
LOST = Probe("Who pays?", ["Ana", "Ruiz Ltd"])


def test_the_score_is_the_share_of_probes_whose_facts_all_stand_in_the_context() -> None:
    report = check(CONTEXT, [KEPT, LOST])
    assert report.score == 0.5
    assert report.failing == (LOST,)
    assert report.checked[1].missing == ("Ruiz Ltd",)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("It costs $1,204.50.", "$1204.50"), ("It costs 1,204.5 in all", "1204.50"), ("use PostgreSQL!", "postgresql"),
        ("about 30 % off", "30%"), ("he said: \u201cthe  red\ncar\u201d", "the red car"), ("at 10:30.", "10:30"),
        ("see src/main.py:", "src/main.py"),
        ("ids (ORD-12)", "ORD-12"), ("it\u2019s", "it's"), ("on May 27.", "May 27"),
        ("Straße", "STRASSE"), ("$ 20", "$20"), ("2.00 EUR", "2 EUR"),
    ],
)  # fmt: skip
def test_a_fact_is_found_however_it_is_punctuated(text: str, fact: str) -> None:
    assert contains(text, fact)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("in 2022", "20"),
        ("at 20:15", "20"),
        ("20.5 km", "20"),
        ("ORD-123", "ORD-12"),
        ("the car", "car park"),
        ("", "x"),
    ],
)
def test_a_part_of_a_number_or_a_name_is_not_the_fact(text: str, fact: str) -> None:
    assert not contains(text, fact)


def test_any_of_several_wordings_will_do() -> None:
    assert check(CONTEXT, [Probe("When?", [("27 May", "May 27")])]).score == 1
    assert check(CONTEXT, [Probe("When?", [("28 May", "May 28")])]).checked[0].missing == ("28 May",)


def test_an_extractor_answers_from_the_context_and_is_compared() -> None:
    asked: list[tuple[str, str]] = []

    def extract(context: str, question: str) -> str:
        asked.append((context, question))
        return "2,000 units at $1,204.50"

    report = check(CONTEXT, [KEPT, LOST], extract=extract)
    assert asked == [(CONTEXT, "How much?"), (CONTEXT, "Who pays?")]
    assert report.failing == (LOST,)


def test_an_extractor_that_fails_leaves_its_probe_unknown() -> None:
    def extract(context: str, question: str) -> str:
        if question == "Who pays?":
            raise TimeoutError("too slow")
        return context

    report = check(CONTEXT, [KEPT, LOST], extract=extract)
    assert report.score == 1
    assert report.unknown == (LOST,)
    assert report.checked[1].error == "TimeoutError: too slow"
    assert not report.checked[1].passed


ANSWERS = [("How much?", "Yes."), ("Who pays?", "**No**, Ruiz Ltd is not mentioned"), ("Why?", "Perhaps")]
WHY = Probe("Why?", ["budget"])


def judged_report(asks: list[Ask], ask: Ask) -> str:
    asks.append(ask)
    return next(reply for question, reply in ANSWERS if question in ask.prompt)


def verify(report: ProbeReport, asks: list[Ask]) -> None:
    assert report.score == 0.5
    assert report.failing == (LOST,)
    assert report.unknown == (WHY,)
    assert len(asks) == 3
    assert all(CONTEXT in ask.prompt and ask.purpose == "probe" for ask in asks)


def test_a_judge_says_yes_or_no_of_each_probe() -> None:
    asks: list[Ask] = []
    verify(run(judged(CONTEXT, [KEPT, LOST, WHY]), lambda ask: judged_report(asks, ask)), asks)


async def test_a_judge_may_be_asked_asynchronously() -> None:
    asks: list[Ask] = []

    async def answer(ask: Ask) -> str:
        return judged_report(asks, ask)

    verify(await arun(judged(CONTEXT, [KEPT, LOST, WHY]), answer), asks)


def test_a_judge_that_fails_leaves_all_unknown_and_raises_nothing() -> None:
    def answer(ask: Ask) -> str:
        raise ConnectionError("no model")

    report = run(judged(CONTEXT, [KEPT, LOST]), answer)
    assert report.score is None
    assert report.unknown == (KEPT, LOST)
    assert not report.failing


def test_no_probes_ask_nothing_and_have_no_score() -> None:
    assert check(CONTEXT, []).score is None
    assert run(judged(CONTEXT, []), lambda ask: "yes").score is None
