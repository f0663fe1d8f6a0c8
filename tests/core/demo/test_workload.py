"""The bundled workload keeps what it promises: its size, its traps, and that its answers follow from its evidence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Conversation, Evidence, Turn, load_workload, normalised, says
from tokenwise_core.demo.workload.loader import digest

WORKLOAD = load_workload()
CONVERSATIONS = (*WORKLOAD.conversations, *WORKLOAD.long)
TURNS: dict[str, Turn] = {turn.id: turn for conversation in CONVERSATIONS for turn in conversation.turns}
PAGES = {page.id: normalised(f"{page.title} {page.text}") for page in WORKLOAD.documents}
TOOLS = {tool.name: tool for tool in WORKLOAD.tools}
FROZEN = Path(__file__).with_name("workload_frozen.json")
PINNED = {
    "accounting": "600c8af486a382f9f10267482499f9d908201dd5a973f3523f50b139ce7c8cf0",
    "cache": "343642118cadbf1baef9cc4c0b63e90c244cb2ef649e1df5032bf6b02a917c79",
    "memory": "22f9de0e9a2a4d1295517efc4c670c83084e90f35071a95b5c132e72fad3ff9c",
}
"""Digest of each release's block of the manifest. A later issue adds a block and its pin, and changes none."""

conversation_by_id = pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda one: one.id)


@cache
def tool_results(conversation_id: str) -> dict[str, dict[str, str]]:
    """What the tools say in each turn, by tool name, with one desk for the whole conversation."""
    desk, found = Desk(), {}
    for turn in next(one for one in CONVERSATIONS if one.id == conversation_id).turns:
        said: dict[str, str] = {}
        for call in (call for step in turn.steps for call in step):
            said[call.name] = f"{said.get(call.name, '')} {desk.call(call.name, call.arguments)}"
        found[turn.id] = said
    return found


def said_in(turn_id: str) -> str:
    results = tool_results(turn_id.split("-", maxsplit=1)[0])[turn_id]
    return normalised(" ".join([TURNS[turn_id].user, TURNS[turn_id].right, *results.values()]))


def position(turn_id: str) -> int:
    return int(turn_id.rpartition("-t")[2])


def distance(turn: Turn) -> int:
    """How many turns ago the oldest thing was told that the turn needs."""
    return max((position(turn.id) - position(item.id) for item in turn.evidence if item.kind == "turn"), default=0)


def evidence(kind: str) -> Iterator[tuple[Turn, Evidence]]:
    yield from ((turn, item) for turn in TURNS.values() for item in turn.evidence if item.kind == kind)


def test_there_are_enough_conversations_of_the_promised_lengths() -> None:
    sizes = [len(conversation.turns) for conversation in WORKLOAD.conversations]
    assert len(sizes) >= 14
    assert all(10 <= size <= 40 for size in sizes)
    assert sum(size >= 30 for size in sizes) >= 3
    assert sum(sizes) >= 260
    assert {conversation.style for conversation in WORKLOAD.conversations} == {"agent", "rag", "mixed", "faq"}


def test_conversations_of_many_days_ask_for_what_was_told_long_before() -> None:
    assert {conversation.style for conversation in WORKLOAD.long} == {"agent", "rag"}
    for conversation in WORKLOAD.long:
        assert 60 <= len(conversation.turns) <= 150
        assert conversation.is_long
        assert sum(len(turn.user.split()) for turn in conversation.turns) > 1_000
        assert sum(distance(turn) >= 20 for turn in conversation.turns) >= 8
        assert any(turn.corrects is not None for turn in conversation.turns)
    assert any(turn.steps for conversation in WORKLOAD.long for turn in conversation.turns)


def test_the_help_box_repeats_rephrases_and_looks_alike() -> None:
    faq = [
        turn for conversation in WORKLOAD.conversations if conversation.style == "faq" for turn in conversation.turns
    ]
    asked = Counter(turn.user for turn in faq)
    assert sum(count - 1 for count in asked.values()) >= 12, "the same words again"
    assert sum(turn.same_as is not None and asked[turn.user] == 1 for turn in faq) >= 20, "other words, same answer"
    assert sum(turn.unlike is not None for turn in faq) >= 20
    assert sum(turn.at_once > 1 for turn in faq) >= 2


def test_every_kind_of_turn_is_there_often_enough_to_judge_by() -> None:
    turns = list(TURNS.values())
    kinds = Counter(turn.kind for turn in turns)
    assert sum(bool(turn.steps) for turn in turns) >= 45
    assert sum(any(len(step) > 1 for step in turn.steps) for turn in turns) >= 4
    assert sum(len(turn.steps) > 1 for turn in turns) >= 10
    assert sum(bool(turn.documents) for turn in turns) >= 90
    assert sum(len(turn.documents) > 1 for turn in turns) >= 10
    assert sum(distance(turn) > 0 for turn in turns) >= 25
    assert sum(distance(turn) >= 20 for turn in turns) >= 10
    assert sum(turn.unlike is not None for turn in turns) >= 25
    assert sum(turn.same_as is not None for turn in turns) >= 25
    assert sum(turn.corrects is not None for turn in turns) >= 10
    assert kinds["small_talk"] >= 20
    assert kinds["unanswerable"] >= 8


def test_the_cheap_model_is_right_on_about_seventy_percent() -> None:
    turns = [turn for conversation in WORKLOAD.conversations for turn in conversation.turns]
    assert 0.65 <= sum(turn.cheap_is_right for turn in turns) / len(turns) <= 0.75
    assert sum(not turn.strong_is_right for turn in turns) >= 4


def test_the_handbook_has_distinct_pages_of_a_page_s_length() -> None:
    assert len(WORKLOAD.documents) >= 60
    assert [page.id for page in WORKLOAD.documents] == [f"kb-{n:03}" for n in range(1, len(WORKLOAD.documents) + 1)]
    assert len({page.title for page in WORKLOAD.documents}) == len(WORKLOAD.documents)
    assert all(80 <= len(page.text.split()) <= 400 for page in WORKLOAD.documents)


def test_the_tools_have_realistic_and_valid_schemas() -> None:
    assert len(TOOLS) == 24
    for tool in TOOLS.values():
        Draft202012Validator.check_schema(dict(tool.parameters))
        assert tool.parameters["additionalProperties"] is False
        assert len(tool.description) > 60
    text = json.dumps([tool.raw for tool in TOOLS.values()])
    assert len(text) / 6 >= 2500, "at six characters a token this would be fewer than 2,500 tokens"
    assert all(f'"{word}"' in text for word in ("enum", "array", "format", "pattern", "default", "required"))


def test_every_tool_is_called_somewhere() -> None:
    assert {call.name for turn in TURNS.values() for step in turn.steps for call in step} == set(TOOLS)


def test_the_system_prompt_and_the_examples_have_the_promised_size() -> None:
    assert 500 <= len(WORKLOAD.system_prompt) / 4.5 <= 900
    assert 3 <= len(WORKLOAD.few_shot) <= 4


@conversation_by_id
def test_recorded_calls_fit_their_tool(conversation: Conversation) -> None:
    for turn in conversation.turns:
        for call in (call for step in turn.steps for call in step):
            Draft202012Validator(dict(TOOLS[call.name].parameters)).validate(dict(call.arguments))


@conversation_by_id
def test_tools_say_what_the_answers_rest_on(conversation: Conversation) -> None:
    results = tool_results(conversation.id)
    for turn in conversation.turns:
        for item in turn.evidence:
            if item.kind == "tool":
                assert item.stands_in(normalised(results[turn.id][item.id])), (turn.id, item)


def test_pages_say_what_the_answers_rest_on() -> None:
    for turn, item in evidence("document"):
        assert item.id in turn.documents, turn.id
        assert item.stands_in(PAGES[item.id]), (turn.id, item)


def test_earlier_turns_say_what_the_answers_rest_on() -> None:
    for turn, item in evidence("turn"):
        assert item.id.split("-")[0] == turn.id.split("-")[0], turn.id
        assert position(item.id) < position(turn.id), turn.id
        assert item.stands_in(said_in(item.id)), (turn.id, item)


def test_what_was_corrected_is_no_evidence_for_what_was_corrected_to() -> None:
    corrected = [(turn, item) for turn, item in evidence("turn") if TURNS[item.id].corrects]
    assert len(corrected) >= 8
    for turn, item in corrected:
        old = TURNS[item.id].corrects
        assert old is not None
        assert not item.stands_in(said_in(old)), (turn.id, item, old)


def test_evidence_is_never_there_by_accident() -> None:
    fixed = normalised(
        " ".join([WORKLOAD.system_prompt, json.dumps(WORKLOAD.few_shot, ensure_ascii=False)])
        + json.dumps([tool.raw for tool in WORKLOAD.tools], ensure_ascii=False)
    )
    for turn in TURNS.values():
        for item in turn.evidence:
            assert not item.stands_in(fixed), (turn.id, item)
            assert not item.stands_in(normalised(turn.user)), (turn.id, item)
            for wording in item.wordings:
                assert sum(says(page, wording) for page in PAGES.values()) <= 2, (turn.id, wording)


def test_every_answerable_question_about_facts_names_its_facts_and_evidence() -> None:
    for turn in TURNS.values():
        if turn.kind in {"document", "tool", "recall"}:
            assert turn.facts, turn.id
            assert turn.evidence, turn.id
        assert turn.answerable == (turn.kind != "unanswerable")


def test_right_answers_say_the_facts_and_wrong_ones_do_not() -> None:
    for turn in TURNS.values():
        assert turn.is_said_by(turn.right), turn.id
        assert turn.cheap is None or turn.is_said_by(turn.cheap), turn.id
        if turn.facts:
            assert not turn.is_said_by(turn.wrong), turn.id
        if turn.facts and turn.answerable:
            assert not turn.is_said_by(turn.dont_know), turn.id


def test_answers_are_brief() -> None:
    assert max(len(turn.right.split()) for turn in TURNS.values()) <= 70


def test_look_alikes_have_different_answers() -> None:
    for turn in TURNS.values():
        if turn.unlike is not None:
            assert not turn.is_said_by(TURNS[turn.unlike].right), (turn.id, turn.unlike)


def test_repeats_have_the_answer_of_what_they_repeat() -> None:
    for turn in TURNS.values():
        if turn.same_as is not None:
            assert TURNS[turn.same_as].is_said_by(turn.right), (turn.id, turn.same_as)


def test_exact_repeats_are_known_as_same_or_as_different() -> None:
    asked: dict[str, list[Turn]] = defaultdict(list)
    for turn in TURNS.values():
        asked[turn.user].append(turn)
    repeated = [turns for turns in asked.values() if len(turns) > 1]
    assert len(repeated) >= 8
    assert any(len({turn.right for turn in turns}) > 1 for turns in repeated), "the same words, other customers"
    for turns in repeated:
        for turn in turns[1:]:
            assert turn.same_as or turn.unlike, turn.id
        if all(turn.same_as for turn in turns[1:]):
            assert all(turns[0].is_said_by(turn.right) for turn in turns), turns[0].id


@conversation_by_id
def test_no_conversation_asks_the_same_words_twice(conversation: Conversation) -> None:
    asked = [turn.user for turn in conversation.turns]
    assert len(set(asked)) == len(asked)


def test_some_tool_outputs_are_long() -> None:
    results = [tool_results(conversation.id) for conversation in CONVERSATIONS]
    lengths = [len(text) for turns in results for said in turns.values() for text in said.values()]
    assert sum(length > 5_000 for length in lengths) >= 4


def test_a_number_is_found_only_as_a_whole_token() -> None:
    assert says(normalised("Within 30 days."), "30 DAYS")
    assert not any(says(normalised(text), "30") for text in ("130 days", "30.5 kW", "at 08:30", "30,000"))
    assert says(normalised("for €4.90,\n a month"), "€4.90")


def test_nothing_that_was_frozen_has_changed_or_gone() -> None:
    manifest: dict[str, dict[str, str]] = json.loads(FROZEN.read_text("utf-8"))
    assert {name: digest(block) for name, block in manifest.items()} == PINNED
    frozen = {name: value for block in manifest.values() for name, value in block.items()}
    assert content_hashes() == frozen, "add what is new to the manifest as a block of its own; never change an old one"


def content_hashes() -> dict[str, str]:
    """A hash for each page, tool and turn, and for the texts around them."""
    folder = files("tokenwise_core.demo.workload")
    raw: dict[str, Any] = {page.name: page.read_text("utf-8") for page in (folder / "handbook").iterdir()}
    raw |= {f"tool {item['function']['name']}": item for item in json.loads((folder / "tools.json").read_text("utf-8"))}
    for page in (*(folder / "conversations").iterdir(), *(folder / "long").iterdir()):
        conversation = json.loads(page.read_text("utf-8"))
        raw |= {turn["id"]: turn for turn in conversation.pop("turns")}
        raw[conversation["id"]] = conversation
    raw |= {name: (folder / name).read_text("utf-8") for name in ("system_prompt.md", "few_shot.json", "desk.json")}
    return {name: digest(value) for name, value in raw.items()}
