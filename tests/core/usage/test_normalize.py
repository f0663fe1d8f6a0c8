"""The reader of usage: hand-written answers of each dialect, laws on made-up ones, and the public recordings."""

from __future__ import annotations

import gzip
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from tokenwise_core.usage import normalize
from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Usage
from tokenwise_core.usage.normalize import find_usage, normalize_usage, usage_from_message, usage_from_response

RECORDED = sorted((Path(__file__).parents[2] / "recorded").glob("*.json"))
DATA = Path(os.environ.get("TOKENWISE_DATA", Path(__file__).parents[4] / "shared" / "data"))


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return case


def said(usage: Usage) -> dict[str, Any]:
    """What *usage* says beyond its defaults."""
    found = {}
    for field in fields(usage):
        default = field.default if field.default is not MISSING else {}
        value = getattr(usage, field.name)
        if value != default:
            found[field.name] = str(value) if isinstance(value, Decimal) else value
    return found


def assert_lawful(usage: Usage) -> None:
    assert all((getattr(usage, bucket) or 0) >= 0 for bucket in INPUT_BUCKETS + OUTPUT_BUCKETS)
    if usage.input_tokens is not None:
        assert usage.input_sum == usage.input_tokens
    if usage.output_tokens is not None:
        assert usage.output_sum == usage.output_tokens
        assert (usage.reasoning or 0) <= usage.output_tokens


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_each_dialect_is_read_into_the_buckets_that_its_answer_states(path: Path) -> None:
    case = load(path)
    usage = usage_from_response(case["body"], provider=case["provider"])
    assert usage is not None
    assert said(usage) == case["expected"], case["about"]
    assert_lawful(usage)


@pytest.mark.parametrize("path", [p for p in RECORDED if "langchain" not in p.stem], ids=lambda path: path.stem)
def test_the_keys_tell_the_dialect_without_the_providers_name(path: Path) -> None:
    case = load(path)
    assert usage_from_response(case["body"]) == usage_from_response(case["body"], provider=case["provider"])


@pytest.mark.parametrize("path", [p for p in RECORDED if "extractor" in load(p)], ids=lambda path: path.stem)
def test_our_totals_are_those_of_the_extractors_of_genai_prices(path: Path) -> None:
    case = load(path)
    provider, flavor = case["extractor"]
    theirs = extract_usage(case["body"] | {"model": None}, provider_id=provider, api_flavor=flavor).usage
    ours = usage_from_response(case["body"], provider=case["provider"])
    assert ours is not None
    # They put into the totals what we keep beside them: Google's tool prompts, xAI's and Perplexity's reasoning.
    assert theirs.input_tokens == (ours.input_tokens or 0) + (ours.side_input or 0)
    assert theirs.output_tokens == (ours.output_tokens or 0) + (ours.side_output or 0)
    assert theirs.reported_value("cache_read_tokens") == (ours.cache_read or 0)


def recordings() -> Iterator[dict[str, Any]]:
    path = DATA / "recorded_usage" / "recorded_usage.jsonl.gz"
    if not path.exists():
        pytest.skip("needs the public recordings: set TOKENWISE_DATA to the folder that holds recorded_usage/")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_the_law_holds_for_every_public_recording() -> None:
    for row in recordings():
        for usage in (normalize_usage(None, row["usage"]), normalize_usage(row["api"], row["usage"])):
            assert (usage.input_sum, usage.output_sum) == (row["in"], row["out"]), row["usage"]
            assert_lawful(usage)
            assert (usage.cache_read or 0) >= row["cached"]
            assert (usage.reasoning or 0) >= min(row["reasoning"], row["out"]) or usage.side_output


def test_the_whole_answer_of_a_recording_says_what_its_usage_says() -> None:
    for row in recordings():
        if row["answer"]:
            usage = usage_from_response(row["answer"])
            assert usage is not None
            assert (usage.input_sum, usage.output_sum) == (row["in"], row["out"])


COUNT = st.one_of(st.none(), st.integers(0, 10_000), st.floats(0, 1000), st.integers(-5, -1))
ODD = st.one_of(COUNT, st.text(max_size=3), st.booleans(), st.just(float("nan")), st.just({}), st.just([]))


def details(*names: str) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.dictionaries(st.sampled_from(names), COUNT))


MODALITIES = st.lists(
    st.fixed_dictionaries({"modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", "DOCUMENT"]), "tokenCount": COUNT}),
    max_size=3,
)
DIALECTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "chat": {
        "prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT,
        "prompt_tokens_details": details("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"),
        "completion_tokens_details": details("reasoning_tokens", "audio_tokens"),
        "prompt_cache_hit_tokens": COUNT, "num_cached_tokens": COUNT, "cache_read_input_tokens": COUNT,
    },
    "responses": {
        "input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT,
        "input_tokens_details": details("cached_tokens", "cache_write_tokens"),
        "output_tokens_details": details("reasoning_tokens"),
    },
    "anthropic": {
        "input_tokens": COUNT, "output_tokens": COUNT, "cache_read_input_tokens": COUNT,
        "cache_creation_input_tokens": COUNT,
        "cache_creation": details("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        "output_tokens_details": details("thinking_tokens"),
    },
    "google": {
        "promptTokenCount": COUNT, "candidatesTokenCount": COUNT, "thoughtsTokenCount": COUNT,
        "cachedContentTokenCount": COUNT, "toolUsePromptTokenCount": COUNT, "totalTokenCount": COUNT,
        "promptTokensDetails": MODALITIES, "cacheTokensDetails": MODALITIES, "candidatesTokensDetails": MODALITIES,
    },
    "bedrock": {
        "inputTokens": COUNT, "outputTokens": COUNT, "cacheReadInputTokens": COUNT, "cacheWriteInputTokens": COUNT,
        "cacheDetails": st.lists(st.fixed_dictionaries({"ttl": st.sampled_from(["5m", "1h"]), "inputTokens": COUNT})),
    },
    "langchain": {
        "input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT,
        "input_token_details": details("cache_read", "flex_cache_read", "cache_creation", "audio", "flex"),
        "output_token_details": details("reasoning", "priority_reasoning", "audio"),
    },
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_buckets_are_exclusive_and_sum_to_the_totals_for_any_numbers(dialect: str, data: st.DataObject) -> None:
    raw = data.draw(st.fixed_dictionaries({}, optional=DIALECTS[dialect]))
    assert_lawful(normalize_usage(dialect, raw))


@given(raw=st.dictionaries(st.sampled_from(sorted({key for d in DIALECTS.values() for key in d})), ODD))
def test_mixed_and_broken_reports_keep_the_law_and_raise_nothing(raw: dict[str, object]) -> None:
    assert_lawful(normalize_usage(None, raw))
    usage_from_response({"usage": raw}, raw)


def test_reasoning_is_capped_at_the_output_and_the_excess_is_kept_in_sight() -> None:
    raw = {"prompt_tokens": 43, "completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 11}}
    usage = normalize_usage("openrouter", raw)
    assert (usage.reasoning, usage.output_text, usage.unknown) == (10, 0, {"clipped.reasoning": 1})


def test_cached_tokens_under_anthropics_names_are_a_subset_of_openais_prompt_unless_they_exceed_it() -> None:
    inside = {"prompt_tokens": 1000, "completion_tokens": 1, "cache_read_input_tokens": 900}
    beside = {"prompt_tokens": 100, "completion_tokens": 1, "cache_read_input_tokens": 900}
    assert normalize_usage("litellm", inside).input_tokens == 1000
    assert normalize_usage("litellm", beside).input_tokens == 1000
    assert normalize_usage("litellm", beside).input_uncached == 100


def test_a_langchain_cache_hit_is_no_report_of_a_price() -> None:
    assert normalize_usage("openai", {"total_cost": 0}) == Usage()
    hit = normalize_usage("openai", {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11, "total_cost": 0})
    assert (hit.input_tokens, hit.output_tokens, hit.reported_cost_usd) == (9, 2, None)


def test_langchains_floats_and_missing_totals_are_read() -> None:
    usage = normalize_usage(
        "x", {"output_tokens": 4.0, "total_tokens": 10.0, "input_token_details": {"cache_read": 2.0}}
    )
    assert (usage.input_tokens, usage.cache_read, usage.input_uncached, usage.output_tokens) == (6, 2, 4, 4)


def test_details_of_usages_that_langchain_added_up_are_added_up_too() -> None:
    raw = {
        "input_tokens": 100, "output_tokens": 1, "total_tokens": 101,
        "input_token_details": {"cache_read": 10, "flex_cache_read": 20, "flex": 5},
    }  # fmt: skip
    assert normalize_usage("openai", raw).cache_read == 30


COUNTED = {"input_tokens": 326, "output_tokens": 91, "total_tokens": 417, "input_token_details": {"cache_read": 26}}
OWN = {
    "prompt_tokens": 326,
    "completion_tokens": 91,
    "total_tokens": 417,
    "cost": 0.5,
    "prompt_tokens_details": {"cached_tokens": 26},
    "server_tool_use_details": {"web_search_requests": 1},
}


def test_a_langchain_message_is_read_from_the_providers_own_usage_where_both_agree() -> None:
    usage = usage_from_message(COUNTED, {"token_usage": OWN, "model_name": "m"}, provider="openrouter")
    assert usage is not None
    assert (usage.input_uncached, usage.cache_read, usage.output_text) == (300, 26, 91)
    assert (usage.reported_cost_usd, usage.web_searches) == (Decimal("0.5"), 1)


@pytest.mark.parametrize("metadata", [None, {}, {"token_usage": None}, {"token_usage": {**OWN, "prompt_tokens": 652}}])
def test_langchains_counts_stand_where_the_providers_are_missing_or_differ(metadata: object) -> None:
    usage = usage_from_message(COUNTED, metadata)
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read, usage.reported_cost_usd) == (326, 26, None)


def test_a_langchain_message_without_any_usage_gives_none() -> None:
    assert usage_from_message(None, {"model_name": "m"}) is None
    only_own = usage_from_message(None, {"token_usage": OWN})
    assert only_own is not None
    assert only_own.input_tokens == 326


class Details(BaseModel):
    cached_tokens: int = 4


class Reported(BaseModel):
    model_config = ConfigDict(extra="allow")
    prompt_tokens: int = 10
    completion_tokens: int = 3
    prompt_tokens_details: Details = Details()


@dataclass
class Counted:
    input_tokens: int = 10
    output_tokens: int = 3


class Proto:
    """Like a protobuf wrapper: properties over hidden state."""

    def __init__(self) -> None:
        self._pb = object()

    @property
    def prompt_token_count(self) -> int:
        return 10

    @property
    def candidates_token_count(self) -> int:
        return 3


@pytest.mark.parametrize(
    "raw",
    [Reported(), Counted(), Proto(), SimpleNamespace(prompt_eval_count=10, eval_count=3)],
    ids=lambda raw: type(raw).__name__,
)
def test_objects_are_read_like_dicts(raw: object) -> None:
    usage = normalize_usage(None, raw)
    assert (usage.input_tokens, usage.output_tokens) == (10, 3)


def test_extra_fields_of_a_pydantic_model_are_read() -> None:
    usage = normalize_usage("openrouter", Reported.model_validate({"cost": 0.25}))
    assert (usage.reported_cost_usd, usage.cache_read) == (Decimal("0.25"), 4)


class Chunk(BaseModel):
    usage: Reported | None = None


class Event(BaseModel):
    type: str = "response.completed"
    response: Chunk


@pytest.mark.parametrize(
    ("raw", "additional_kwargs"),
    [
        (Chunk(usage=Reported()), {}),
        (Event(response=Chunk(usage=Reported())), {}),
        ({"usage": Reported()}, {}),
        (Chunk(), {"usage": Reported()}),
        ({}, {"usage": Reported()}),
        (None, {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}),
        ("plain text", {"prompt_tokens": 10, "completion_tokens": 3}),
        ({"prompt_eval_count": 10, "eval_count": 3}, None),
    ],
)
def test_usage_is_found_wherever_a_llamaindex_response_keeps_it(raw: object, additional_kwargs: object) -> None:
    usage = usage_from_response(raw, additional_kwargs)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 3)


class Weather(BaseModel):
    """A structured answer of the user's own, which LlamaIndex hands on as `raw`."""

    usage: str = "umbrella"
    metadata: dict[str, int] = {"tokens": 3}


@pytest.mark.parametrize("raw", [None, {}, "text", 7, [], Weather(), {"usage": None}, {"choices": []}, object()])
def test_an_answer_without_usage_gives_none(raw: object) -> None:
    assert usage_from_response(raw) is None
    assert find_usage(raw) is None


class Hostile:
    """An object that fails when looked into."""

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        raise RuntimeError("no")


@pytest.mark.parametrize("raw", ["text", 7, ["x"], object(), {"usage": "x"}, {"prompt_tokens": "many"}, Hostile()])
def test_garbage_gives_unknown_counts_and_is_logged_once(raw: object, caplog: pytest.LogCaptureFixture) -> None:
    normalize._warn_unreadable.cache_clear()
    with caplog.at_level(logging.WARNING, logger="tokenwise.usage"):
        first, again = normalize_usage("acme", raw), normalize_usage("acme", raw)
    assert first == again == Usage(unknown={"unreadable": type(raw).__name__})
    assert len(caplog.records) == 1
    assert "many" not in caplog.text


@pytest.mark.parametrize("raw", [None, {}])
def test_no_usage_is_unknown_without_a_word(raw: object, caplog: pytest.LogCaptureFixture) -> None:
    assert normalize_usage("openai", raw) == Usage()
    assert not caplog.records


def test_counts_that_no_rule_reads_are_kept_as_unknown() -> None:
    raw = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"thermal_tokens": 2}, "moods": 3}
    assert normalize_usage("acme", raw).unknown == {"input.thermal_tokens": 2, "moods": 3}


def test_embeddings_have_input_alone() -> None:
    usage = normalize_usage("openai", {"prompt_tokens": 8, "total_tokens": 8})
    assert (usage.input_tokens, usage.output_tokens) == (8, 0)
