"""TokenCounter: which model counts how, what it remembers, what it learns."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import threading

import pytest

from tokenwise_core.messages import Answer, Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.tokens import Calibration, TokenCounter
from tokenwise_core.tokens.counter import _warn_of_unknown
from tokenwise_core.tokens.models import UNKNOWN, base_name, family_of
from tokenwise_core.usage.components import CountSource

QUESTION = Prompt(messages=(Message(role="user", text="What is the capital of France?"),))
TOOL = ToolDefinition(name="lookup", description="Look it up.", parameters={"properties": {"key": {"type": "string"}}})


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-2024-08-06", "openai-o200k"),
        ("gpt-4.1", "openai-o200k"),
        ("openai/gpt-4.1-mini", "openai-o200k"),
        ("openai:gpt-5-mini", "openai-reasoning"),
        ("gpt-5.6-sol", "openai-reasoning"),
        ("o3-mini", "openai-reasoning"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai-o200k"),
        ("gpt-5-chat-latest", "openai-o200k"),
        ("gpt-4-turbo", "openai-cl100k"),
        ("gpt-35-turbo", "openai-cl100k"),
        ("openai/gpt-oss-120b", "gpt-oss"),
        ("gpt-oss:20b", "gpt-oss"),
        ("claude-3-5-sonnet-latest", "claude"),
        ("claude-sonnet-4-0", "claude"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-4.5"),
        ("anthropic/claude-sonnet-4.6", "claude-4.6"),
        ("claude-opus-4-8", "claude-4.7"),
        ("claude-sonnet-5", "claude-4.7"),
        ("models/gemini-2.0-flash", "gemini-2.0"),
        ("google/gemini-2.5-flash-lite", "gemini"),
        ("us.amazon.nova-2-lite-v1:0", "nova-2"),
        ("us.deepseek.r1-v1:0", "deepseek"),
        ("meta-llama/llama-4-maverick-17b-128e-instruct", "llama-4"),
        ("mistral-large-latest", "mistral"),
        ("my-azure-deployment", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_model_is_known_under_all_its_names(model: str, family: str) -> None:
    assert family_of(model).name == family


def test_a_name_is_told_from_its_provider_and_its_variant() -> None:
    assert base_name("bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0") == "claude-3-7-sonnet-20250219"
    assert base_name("deepseek/deepseek-chat:free") == "deepseek-chat"


def test_an_unknown_model_is_estimated_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="tokenwise.tokens"):
        counters = [TokenCounter.for_model("a-deployment-of-ours") for _ in range(3)]
    assert len(caplog.records) == 1
    assert counters[0].count(QUESTION).source is CountSource.ESTIMATED


def test_a_model_without_a_name_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    _warn_of_unknown.cache_clear()
    with caplog.at_level(logging.WARNING, logger="tokenwise.tokens"):
        TokenCounter.for_model("")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["a model without a name"]


def test_the_provider_helps_with_a_name_that_says_nothing() -> None:
    assert TokenCounter.for_model("prod-chat", provider="gpt-4o").family.name == "openai-o200k"
    assert TokenCounter.for_model("prod-chat", provider="nobody").family is UNKNOWN


def test_any_function_counts_for_a_model_of_the_users_own() -> None:
    asked: list[str] = []

    def words(text: str) -> int:
        asked.append(text)
        return len(text.split())

    counter = TokenCounter(words, model="ours")
    assert [counter.text("one two three"), counter.text("one two three")] == [3, 3]
    assert asked == ["one two three"]
    assert counter.count(QUESTION).messages[0].text == 6


def test_each_turn_of_a_long_conversation_costs_only_its_new_text() -> None:
    asked: list[str] = []

    def recording(text: str) -> int:
        asked.append(text)
        return len(text)

    counter = TokenCounter(recording, model="ours")
    history = tuple(Message(role="user", text=f"turn {n} " * 100) for n in range(50))
    counter.count(Prompt(messages=history))
    asked.clear()
    counter.count(Prompt(messages=(*history, Message(role="user", text="one more"))))
    assert asked == ["one more"]


def test_an_answer_is_counted_by_part() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    call = ToolCall(name="lookup", arguments='{"key":"x"}')
    counted = counter.answer(Answer(text="Paris.", tool_calls=(call,), reasoning="France, hence Paris"))
    assert counted.response == counter.text("Paris.")
    assert counted.tool_calls == counter.text("lookup") + counter.text('{"key":"x"}')
    assert counted.total == counted.response + counted.tool_calls + counted.reasoning


def test_claude_counts_tools_thinking_and_forced_calls() -> None:
    counter = TokenCounter.for_model("claude-sonnet-4-5")
    plain = counter.count(QUESTION).total
    thinking = Prompt(messages=QUESTION.messages, options={"thinking": {"type": "enabled", "budget_tokens": 1024}})
    tools = Prompt(messages=QUESTION.messages, tools=(TOOL,))
    forced = Prompt(messages=QUESTION.messages, tools=(TOOL,), options={"tool_choice": {"type": "any"}})
    assert plain == 14
    assert counter.count(thinking).total == plain + 29
    assert counter.count(tools).tools_overhead == 501
    assert counter.count(forced).total == counter.count(tools).total + 95


def test_gemini_is_not_charged_for_an_answer_schema() -> None:
    schema = OutputSchema(schema={"type": "object", "properties": {"city": {"type": "string"}}})
    counter = TokenCounter.for_model("gemini-2.5-flash")
    assert counter.count(Prompt(messages=QUESTION.messages, output_schema=schema)).schema == 0


def test_reported_usage_corrects_the_next_estimate_and_says_so() -> None:
    counter = TokenCounter.for_model("some-model-of-2031")
    first = counter.count(QUESTION)
    for _ in range(3):
        counter.observe(counter.count(QUESTION), first.total + 40)
    corrected = counter.count(QUESTION)
    assert corrected.total == first.total + 40
    assert corrected.source is CountSource.CALIBRATED
    assert sum(message.total for message in corrected.messages) + corrected.overhead == corrected.total


def test_what_one_counter_learns_another_that_shares_its_calibration_knows() -> None:
    shared = Calibration()
    teacher = TokenCounter.for_model("qwen/qwen3-32b", calibration=shared)
    for _ in range(3):
        teacher.observe(teacher.count(QUESTION), 100)
    pupil = TokenCounter.for_model("qwen-3-coder", calibration=shared)
    assert pupil.count(QUESTION).source is CountSource.CALIBRATED


def test_an_exact_count_is_never_corrected() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    before = counter.count(QUESTION)
    for _ in range(9):
        counter.observe(before, 1_000)
    assert counter.count(QUESTION) == before


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda counter: pickle.loads(pickle.dumps(counter))])
def test_a_copy_counts_the_same_and_keeps_what_was_learned(clone: object) -> None:
    counter = TokenCounter.for_model("kimi-k2")
    for _ in range(3):
        counter.observe(counter.count(QUESTION), 77)
    twin = clone(counter)  # type: ignore[operator]
    assert twin.count(QUESTION) == counter.count(QUESTION)
    assert twin.calibration is not counter.calibration


def test_threads_count_alike() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    prompt = Prompt(messages=tuple(Message(role="user", text=f"text {n}") for n in range(30)), tools=(TOOL,))
    totals: list[int] = []
    threads = [threading.Thread(target=lambda: totals.append(counter.count(prompt).total)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(totals)) == 1
    assert len(totals) == 8


def test_calibration_survives_storage() -> None:
    calibration = Calibration()
    for reported in (50, 60, 70):
        calibration.observe(10, reported, "m|plain")
    stored = json.loads(json.dumps(calibration.to_dict()))
    assert Calibration.from_dict(stored).correction("m|plain") == calibration.correction("m|plain")
    assert Calibration.from_dict({**stored, "version": 99}).correction("m|plain")[1] == 0


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_a_schema_changed_in_place_is_counted_anew(model: str) -> None:
    counter = TokenCounter.for_model(model)
    parameters = {"type": "object", "properties": {"key": {"type": "string"}}}

    def tokens() -> int:
        tool = ToolDefinition(name="lookup", parameters=parameters)
        return counter.count(Prompt(messages=QUESTION.messages, tools=(tool,))).total

    before = tokens()
    parameters["properties"] = {"key": {"type": "string"}, "another_parameter": {"type": "integer"}}
    assert tokens() > before


def test_a_counter_can_be_prepared_before_it_is_needed() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    counter.prepare()
    assert counter.text("Hello, world") == 3
