"""Prices: names that must be found and names that must not, exact rates, tiers, overrides, and the laws of cost."""

from __future__ import annotations

import copy
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.events import Cost, Usage
from tokenwise_core.usage.pricing import PriceBook

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
BOOK = PriceBook(clock=lambda: NOW)
OWN = {
    "models": {
        "replay-cheap": {"input": 0.10, "output": 0.40, "cache_read": 0.01, "cache_write": 0.125},
        "replay-strong": {"input": 2.0, "output": 8.0},
    }
}


def usage(**buckets: int) -> Usage:
    """A usage whose totals are the sums of *buckets*."""
    bare = Usage(**buckets)  # type: ignore[arg-type]
    return Usage(input_tokens=bare.input_sum, output_tokens=bare.output_sum, **buckets)  # type: ignore[arg-type]


def cost(u: Usage, model: str, provider: str | None = None, *, book: PriceBook = BOOK, **options: Any) -> Cost:
    found = book.cost(u, model=model, provider=provider, **options)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "provider", "seller", "model"),
    [
        ("gpt-5-mini", None, "openai", "gpt-5-mini"),
        ("gpt-5-mini-2025-08-07", "openai", "openai", "gpt-5-mini"),
        ("openai:gpt-5-mini", None, "openai", "gpt-5-mini"),
        ("openai/gpt-5", None, "openai", "gpt-5"),
        ("gpt-5.2-20251211", None, "openai", "gpt-5.2"),
        ("gpt-4o-20240513", None, "openai", "gpt-4o-2024-05-13"),
        ("gpt-4.1-nano-2026-01-01", None, "openai", "gpt-4.1-nano"),
        ("GPT-4o", "azure_openai", "openai", "gpt-4o"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai", "openai", "ft:gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "anthropic", "anthropic", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "openai", "anthropic", "claude-sonnet-4-5"),
        ("claude-opus-4-8@20260101", None, "anthropic", "claude-opus-4-8"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon_bedrock", "aws", None),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", None, "aws", None),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-5", "bedrock", "aws", None),
        ("openai.gpt-oss-120b-1:0", "bedrock_converse", "aws", "openai.gpt-oss-120b-1:0"),
        ("anthropic/claude-4.6-sonnet-20260217", None, "anthropic", "claude-sonnet-4-6"),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", None, "aws", None),
        ("claude-sonnet-4-5@20250929", "google_vertexai", "google", "claude-sonnet-4-5"),
        ("models/gemini-2.5-pro", None, "google", "gemini-2.5-pro"),
        ("google_genai:gemini-2.5-flash", None, "google", "gemini-2.5-flash"),
        ("openrouter/openai/gpt-4o", None, "openrouter", "openai/gpt-4o"),
        ("openai/gpt-oss-120b", "groq", "groq", "openai/gpt-oss-120b"),
    ],
)
def test_a_model_is_found_by_the_names_that_frameworks_and_clouds_give_it(
    name: str, provider: str | None, seller: str, model: str | None
) -> None:
    price = BOOK.price(name, provider)
    assert price is not None
    assert price.provider == seller
    assert model is None or price.model == model


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("totally-unknown", None),
        ("my-gpt-4o-finetune", None),
        ("gpt-4o-prod", "azure"),
        ("my-deployment", "azure_openai"),
        ("claude-opus-4-8-acme-tune", "anthropic"),
        ("my-claude-sonnet-4-5", "google"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", "bedrock"),
        ("ft:gpt-4-0613:acme::id", "openai"),
        ("gpt-99", "openai"),
        ("mistral", "ollama"),
        ("deepseek-r1", "ollama"),
        ("gpt-5", "groq"),
        ("openai/gpt-5", "groq"),
        ("meta-llama/llama-4-maverick-17b-128e-instruct", None),
        ("replay-cheap", None),
        ("", None),
    ],
)
def test_an_unknown_model_has_no_price_never_anothers(name: str, provider: str | None) -> None:
    assert BOOK.price(name, provider) is None
    assert BOOK.cost(usage(input_uncached=1000), model=name, provider=provider) is None


def test_an_unknown_model_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    book = PriceBook(clock=lambda: NOW)
    with caplog.at_level(logging.WARNING, logger="tokenwise.prices"):
        for hours in range(5):
            book.cost(usage(input_uncached=1), model="totally-unknown", at=NOW + 3600 * hours)
    assert [record.name for record in caplog.records] == ["tokenwise.prices"]
    assert "totally-unknown" in caplog.text


def test_cached_tokens_are_priced_not_free() -> None:
    """The seeds' case (S3-05): 13,000 tokens of prefix, 10,000 requests a day, at $2.50 for a million.

    They took a cached token for free and so $32.50 a day at 90 % hits; at a tenth of the price it is $61.75 (D17).
    """
    book = PriceBook(overrides={"models": {"seed": {"input": 2.5, "output": 10, "cache_read": 0.25}}})
    cold, warm = usage(input_uncached=13_000), usage(cache_read=13_000)
    miss, hit = cost(cold, "seed", book=book).usd, cost(warm, "seed", book=book).usd
    assert miss * 10_000 == Decimal("325")
    assert miss * 1_000 + hit * 9_000 == Decimal("61.75")


def test_rates_are_those_of_the_list_to_the_nano() -> None:
    price = BOOK.price("claude-sonnet-4-6", "anthropic")
    assert price is not None
    stated = [price.usd_per_mtok(b) for b in ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h")]
    assert stated == [Decimal(3), Decimal("0.3"), Decimal("3.75"), Decimal(6)]
    assert price.rate("cache_read") == Fraction(300)
    assert price.rate("reasoning") == price.rate("output_text") == Fraction(15_000)


def test_a_dated_price_is_the_one_of_the_day() -> None:
    before, after = datetime(2026, 8, 1, tzinfo=UTC).timestamp(), datetime(2026, 9, 1, tzinfo=UTC).timestamp()
    old, new = (BOOK.price("gpt-5.6-sol", "openai", at=at) for at in (before, after))
    assert old is not None
    assert new is not None
    assert (old.usd_per_mtok("output_text"), new.usd_per_mtok("output_text")) == (Decimal(30), Decimal(20))


def test_a_long_prompt_pays_the_dearer_rate_for_all_of_its_tokens() -> None:
    short = cost(usage(input_uncached=272_000, output_text=10), "gpt-5.6-sol", "openai")
    long = cost(usage(input_uncached=272_001, output_text=10), "gpt-5.6-sol", "openai")
    assert short.by_bucket == {"input_uncached": 272_000 * 4_000, "output_text": 10 * 20_000}
    assert long.by_bucket == {"input_uncached": 272_001 * 8_000, "output_text": 10 * 30_000}


@pytest.mark.parametrize(
    ("model", "provider"),
    [("gpt-5", "openai"), ("claude-opus-4-8", "anthropic"), ("claude-3-haiku", "anthropic"),
     ("gemini-2.5-pro", "google"), ("mistral-medium-latest", "mistral"), ("us.anthropic.claude-sonnet-5", "bedrock")],
)  # fmt: skip
def test_batch_halves_what_it_applies_to(model: str, provider: str) -> None:
    spent = usage(input_uncached=10_000, output_text=2_000)
    assert 2 * cost(spent, model, provider, tier="batch").nano == cost(spent, model, provider).nano


def test_the_tier_that_the_usage_names_is_priced() -> None:
    spent = usage(input_uncached=10_000, output_text=2_000)
    named = Usage(**{**{f: getattr(spent, f) for f in spent.__slots__}, "service_tier": "priority"})
    assert cost(named, "gpt-5", "openai") == cost(spent, "gpt-5", "openai", tier="priority")
    assert cost(named, "gpt-5", "openai").nano > cost(spent, "gpt-5", "openai").nano


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "on_demand", None])
def test_every_name_of_the_standard_tier_is_the_standard_price(tier: str | None) -> None:
    assert BOOK.price("gpt-5", "openai", tier=tier) == BOOK.price("gpt-5", "openai")


def test_a_tier_without_a_known_price_is_priced_as_standard_and_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = PriceBook(clock=lambda: NOW)
    with caplog.at_level(logging.WARNING, logger="tokenwise.prices"):
        odd = book.price("deepseek-chat", "deepseek", tier="platinum")
        book.price("deepseek-reasoner", "deepseek", tier="platinum")
    plain = book.price("deepseek-chat", "deepseek")
    assert odd is not None
    assert plain is not None
    assert (odd.rates, odd.tier) == (plain.rates, None)
    assert len(caplog.records) == 1


def test_a_search_has_a_fee_that_batch_does_not_halve() -> None:
    spent = Usage(input_tokens=0, output_tokens=0, web_searches=3, server_tool_calls=3)
    assert cost(spent, "claude-sonnet-4-6", "anthropic").by_bucket == {"web_search": 30_000_000}
    assert cost(spent, "claude-sonnet-4-6", "anthropic", tier="batch").by_bucket == {"web_search": 30_000_000}


def test_tokens_beside_the_totals_are_priced_an_advisors_at_its_own_price() -> None:
    side = {"": {"cache_read": 1000}, "claude-opus-4-8": {"input_uncached": 100, "output_text": 10}}
    spent = Usage(input_tokens=0, output_tokens=0, side_input=1100, side_output=10, side_buckets=side)
    assert cost(spent, "claude-sonnet-4-6", "anthropic").by_bucket == {
        "side_input": 1000 * 300 + 100 * 5_000,
        "side_output": 10 * 25_000,
    }
    unknown = Usage(input_tokens=5, input_uncached=5, output_tokens=0, side_buckets={"nobody": {"input_uncached": 1}})
    assert BOOK.cost(unknown, model="claude-sonnet-4-6", provider="anthropic") is None


def test_side_tokens_without_buckets_cost_as_plain_input_and_output() -> None:
    spent = Usage(input_tokens=0, output_tokens=0, side_input=700, side_output=5)
    assert cost(spent, "gemini-2.5-flash", "google").by_bucket == {"side_input": 700 * 300, "side_output": 5 * 2_500}


def test_what_the_provider_reported_wins() -> None:
    spent = Usage(input_tokens=10, input_uncached=10, output_tokens=1, reported_cost_usd=Decimal("0.0003453"))
    for model in ("gpt-5", "nobody-knows"):
        found = cost(spent, model)
        assert (found.nano, found.by_bucket, found.price_version) == (345_300, {"reported": 345_300}, "reported")


def test_unknown_usage_has_an_unknown_cost_and_zero_usage_costs_zero() -> None:
    assert BOOK.cost(Usage(), model="gpt-5") is None
    assert BOOK.cost(usage(input_uncached=5), model=None) is None
    assert cost(Usage(input_tokens=0, output_tokens=0), "gpt-5").nano == 0


def test_tokens_of_a_kind_without_a_price_make_the_cost_unknown() -> None:
    assert cost(usage(input_uncached=100), "text-embedding-3-small").nano == 2_000
    assert BOOK.cost(usage(input_uncached=100, output_text=1), model="text-embedding-3-small") is None


BUCKETS = st.fixed_dictionaries(
    {
        name: st.integers(0, 50_000)
        for name in ("input_uncached", "cache_read", "cache_write_5m", "output_text", "reasoning")
    }
)


@given(first=BUCKETS, second=BUCKETS, model=st.sampled_from(["gpt-4o", "claude-sonnet-4-6", "gpt-5-mini"]))
def test_cost_is_additive_over_calls(first: dict[str, int], second: dict[str, int], model: str) -> None:
    together = usage(**{bucket: first[bucket] + second[bucket] for bucket in first})
    assert cost(together, model).nano == cost(usage(**first), model).nano + cost(usage(**second), model).nano


@given(buckets=BUCKETS, model=st.sampled_from(["gpt-4o", "claude-sonnet-4-6", "gemini-2.5-pro", "deepseek-chat"]))
def test_a_cost_is_the_sum_of_its_buckets_and_never_negative(buckets: dict[str, int], model: str) -> None:
    found = cost(usage(**buckets), model)
    assert found.nano == sum(found.by_bucket.values()) >= 0
    assert all(amount >= 0 for amount in found.by_bucket.values())


@given(buckets=BUCKETS)
@pytest.mark.parametrize(
    ("model", "provider"), [("claude-sonnet-4-5", "anthropic"), ("gpt-5.6-sol", "openai"), ("gemini-2.5-pro", "google")]
)
def test_costs_agree_with_the_calculation_of_genai_prices(model: str, provider: str, buckets: dict[str, int]) -> None:
    spent = usage(**buckets)
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cache_read_tokens=spent.cache_read,
            cache_write_tokens=spent.cache_write_5m,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime.fromtimestamp(NOW, UTC),
    ).total_price
    assert abs(cost(spent, model, provider).usd - theirs) < Decimal("1e-8")


def test_overrides_price_models_that_no_list_knows() -> None:
    book = PriceBook(overrides=OWN, clock=lambda: NOW)
    spent = usage(input_uncached=1000, cache_read=1000, cache_write_5m=1000, output_text=100, reasoning=100)
    found = cost(spent, "replay-cheap", book=book)
    assert found.by_bucket == {
        "input_uncached": 100_000, "cache_read": 10_000, "cache_write_5m": 125_000,
        "output_text": 40_000, "reasoning": 40_000,
    }  # fmt: skip
    assert found.price_version == book.version != BOOK.version


TOML = """
[providers.azure]
discount = 0.15

[models."support-prod"]
same_as = "gpt-5-mini"
provider = "azure_openai"
discount = 0.10

[[models."in-house-70b"]]
input = 0.40
output = 1.20

[[models."in-house-70b"]]
since = 2026-09-01
input = 0.20
output = 0.60
request = 0.001
long_context = { above = 1000, input = 0.30 }
"""


def test_overrides_are_read_from_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(TOML, encoding="utf-8")
    book = PriceBook(overrides=path, clock=lambda: NOW)
    million = usage(input_uncached=1_000_000)
    listed = cost(million, "gpt-5-mini", "openai").usd
    assert cost(million, "gpt-5-mini", "azure", book=book).usd == listed * Decimal("0.85")
    assert cost(million, "gpt-5-mini", "openai", book=book).usd == listed
    assert cost(million, "support-prod", "AzureOpenAI", book=book).usd == listed * Decimal("0.85") * Decimal("0.9")
    assert book.price("support-prod", "openai") is None
    early = datetime(2026, 8, 1, tzinfo=UTC).timestamp()
    assert cost(million, "in-house-70b", book=book, at=early).usd == Decimal("0.4")
    assert cost(usage(input_uncached=1000), "in-house-70b", book=book).nano == 200_000 + 1_000_000
    assert cost(usage(input_uncached=1001), "in-house-70b", book=book).nano == 300_300 + 1_000_000


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"modles": {}}, "modles"),
        ({"models": {"x": {"imput": 1}}}, "imput"),
        ({"models": {"x": {"input": -1, "output": 1}}}, 'models."x".input'),
        ({"models": {"x": {"input": "much"}}}, 'models."x".input'),
        ({"models": {"x": {"input": 1, "same_as": "gpt-5"}}}, 'models."x"'),
        ({"models": {"x": {}}}, 'models."x"'),
        ({"models": {"x": {"input": 1, "since": "soon"}}}, "since"),
        ({"models": {"x": {"input": 1, "long_context": {"input": 2}}}}, "above"),
        ({"models": {"x": 3}}, 'models."x"'),
        ({"models": []}, "models"),
        ({"providers": {"openai": {"discount": 15}}}, "providers.openai.discount"),
    ],
)
def test_a_mistake_in_the_overrides_is_named_with_its_place(overrides: dict[str, Any], place: str) -> None:
    with pytest.raises(BadInput, match=place.replace('"', ".").replace("[", ".")):
        PriceBook(overrides=overrides)


@pytest.mark.parametrize("text", [None, "models = {", "\xff"])
def test_a_price_file_that_cannot_be_read_is_bad_input(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "prices.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"prices\.toml"):
        PriceBook(overrides=path)


def test_models_lists_ones_own_prices_first_and_filters_by_provider() -> None:
    book = PriceBook(overrides=OWN, clock=lambda: NOW)
    assert [price.model for price in book.models()[:2]] == ["replay-cheap", "replay-strong"]
    assert len(book.models()) > 1000
    google = book.models("google_vertexai")
    assert {price.provider for price in google} == {"google"}
    assert "gemini-2.5-pro" in {price.model for price in google}


def test_check_says_what_is_unknown_and_how_old_the_list_is() -> None:
    fresh = PriceBook(overrides=OWN, clock=lambda: NOW)
    known, unknown, own = fresh.check(["gpt-5", ("my-deployment", "azure"), "replay-cheap"])
    assert (known.known, unknown.known, own.known) == (True, False, True)
    assert known.age_days is not None
    assert not known.stale
    assert own.age_days is None
    late = PriceBook(clock=lambda: NOW + 400 * 86_400)
    assert [check.stale for check in late.check(["gpt-5", "totally-unknown"])] == [True, False]


def test_a_book_survives_pickle_and_deepcopy_with_its_overrides() -> None:
    book = PriceBook(overrides=OWN)
    for other in (copy.deepcopy(book), pickle.loads(pickle.dumps(book))):
        assert other.version == book.version
        assert other.cost(usage(input_uncached=10), model="replay-cheap") is not None


def test_threads_share_a_book() -> None:
    book = PriceBook(overrides=OWN, clock=lambda: NOW)
    spent = usage(input_uncached=1000, output_text=10)
    names = ["gpt-5", "claude-sonnet-4-6", "replay-cheap", "totally-unknown"] * 50
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: book.cost(spent, model=name), names))
    assert found == [book.cost(spent, model=name) for name in names]


def test_prices_that_the_application_updates_take_effect_at_once() -> None:
    book = PriceBook(clock=lambda: NOW)
    assert book.price("gpt-5", "openai") is not None
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert book.price("gpt-5", "openai") is None
        assert "@" in book.version
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert book.price("gpt-5", "openai") is not None
