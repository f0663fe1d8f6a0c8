"""What prompt caches ask for and charge, and the ledger of prefixes last sent."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PrefixLedger, PrefixPart, PromptCacheRules

KEY = ("session-1", "gpt-5-mini")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def parts(*names: str, tokens: int = 100) -> list[PrefixPart]:
    """One piece for each name; `history:a` is component history with content a."""
    return [PrefixPart(digest=name.encode(), tokens=tokens, component=name.split(":")[0]) for name in names]


def rules(model: str, provider: str | None = None) -> PromptCacheRules:
    found = PromptCacheRules.for_model(model, provider)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "provider", "min_tokens", "automatic", "ttl"),
    [
        ("gpt-4o-mini", "openai", 1024, True, 300),
        ("gpt-5-mini", "azure_openai", 1024, True, 300),
        ("gpt-5.6-sol", "openai", 1024, True, 1800),
        ("claude-sonnet-4-5-20250929", "anthropic", 1024, False, 300),
        ("claude-opus-4-5", "anthropic", 4096, False, 300),
        ("claude-haiku-4-5", None, 4096, False, 300),
        ("claude-3-5-haiku-latest", "anthropic", 2048, False, 300),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon_bedrock", 1024, False, 300),
        ("anthropic/claude-sonnet-4.5", "openrouter", 1024, False, 300),
        ("gemini-2.5-flash", "google_genai", 2048, True, None),
        ("gemini-3-flash-preview", "google", 4096, True, None),
        ("us.amazon.nova-pro-v1:0", "bedrock", 1000, True, 300),
        ("deepseek-chat", "deepseek", 64, True, 3600),
        ("openai/gpt-oss-120b", "groq", 1024, True, 7200),
    ],
)
def test_each_family_has_its_least_length_its_life_and_its_way(
    model: str, provider: str | None, min_tokens: int, automatic: bool, ttl: int | None
) -> None:
    found = rules(model, provider)
    assert (found.min_tokens, found.automatic, found.ttl_seconds) == (min_tokens, automatic, ttl)
    assert found.source


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4", "openai"),
        ("gpt-4o-2024-05-13", "openai"),
        ("llama3.2", "ollama"),
        ("deepseek-r1", "ollama"),
        ("openai/gpt-oss-120b", None),
        ("kimi-k2", "together"),
        ("x", None),
    ],
)
def test_a_model_that_is_not_known_to_cache_has_no_rules(model: str, provider: str | None) -> None:
    assert PromptCacheRules.for_model(model, provider) is None


def test_factors_come_from_the_price_where_it_has_them() -> None:
    book = PriceBook(clock=lambda: 1_790_000_000)
    for model, provider, read, write, long in (
        ("claude-sonnet-4-6", "anthropic", "1/10", "5/4", "2"),
        ("claude-opus-5-5", "anthropic", "1/20", "5/4", "2"),
        ("gpt-4o", "openai", "1/2", "1", None),
        ("gpt-5.6-sol", "openai", "1/10", "5/4", None),
    ):
        found = PromptCacheRules.for_model(model, provider, book.price(model, provider))
        assert found is not None
        assert (found.read_factor, found.write_factor) == (Fraction(read), Fraction(write)), model
        assert found.long_write_factor == (Fraction(long) if long else None)


def test_a_prefix_is_cached_from_the_least_length_on_in_steps() -> None:
    openai = rules("gpt-5-mini", "openai")
    assert [openai.cacheable(n) for n in (0, 1023, 1024, 1151, 1152)] == [0, 0, 1024, 1024, 1152]
    assert rules("claude-sonnet-4-6").cacheable(1500) == 1500


def test_the_first_call_of_a_session_has_no_stable_prefix() -> None:
    report = PrefixLedger(Clock()).observe(KEY, parts("system", "user:a"))
    assert (report.stable_tokens, report.total_tokens, report.broken_by, report.warm) == (0, 200, None, None)


def test_an_appended_conversation_keeps_its_prefix() -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(KEY, parts("system", "user:a"))
    report = ledger.observe(KEY, parts("system", "user:a", "assistant:b", "user:c"))
    assert (report.stable_tokens, report.total_tokens, report.broken_by, report.broken_at) == (200, 400, None, None)


def test_the_first_differing_piece_is_named_with_its_place() -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(KEY, parts("system:1", "tools", "history:a", "user:b"))
    report = ledger.observe(KEY, parts("system:1", "tools", "summary:s", "user:b"))
    assert (report.stable_tokens, report.broken_by, report.broken_at) == (200, "summary", 2)
    report = ledger.observe(KEY, parts("system:2", "tools", "summary:s", "user:b"))
    assert (report.stable_tokens, report.broken_by, report.broken_at) == (0, "system", 0)


def test_a_prompt_cut_at_its_end_breaks_nothing() -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(KEY, parts("system", "user:a", "assistant:b"))
    report = ledger.observe(KEY, parts("system", "user:a"))
    assert (report.stable_tokens, report.broken_by) == (200, None)


def test_predicting_records_nothing() -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(KEY, parts("system", "user:a"))
    assert ledger.predict(KEY, parts("system", "user:x")).broken_by == "user"
    assert ledger.predict(("other", None), parts("system")).stable_tokens == 0
    assert ledger.observe(KEY, parts("system", "user:a", "user:b")).stable_tokens == 200
    assert len(ledger) == 1


def test_a_prefix_is_warm_while_its_life_lasts_and_each_use_renews_it() -> None:
    clock = Clock()
    ledger, cached = PrefixLedger(clock), rules("gpt-5-mini", "openai")
    ledger.observe(KEY, parts("system", tokens=1200), rules=cached)
    clock.now += 299
    report = ledger.observe(KEY, parts("system", "user:a", tokens=1200), rules=cached)
    assert (report.warm, report.cacheable_tokens) == (True, 1152)
    clock.now += 299
    assert ledger.observe(KEY, parts("system", tokens=1200), rules=cached).warm is True
    clock.now += 301
    assert ledger.predict(KEY, parts("system", tokens=1200), rules=cached).warm is False
    assert ledger.predict(KEY, parts("system", tokens=1200)).warm is None
    assert ledger.predict(KEY, parts("system", tokens=1200), rules=rules("gemini-2.5-flash")).warm is None


def test_sessions_and_models_are_apart() -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(("s1", "m"), parts("system"))
    assert ledger.observe(("s2", "m"), parts("system")).stable_tokens == 0
    assert ledger.observe(("s1", "other"), parts("system")).stable_tokens == 0
    assert ledger.observe(("s1", "m"), parts("system")).stable_tokens == 100


def test_the_session_used_longest_ago_is_forgotten_first() -> None:
    ledger = PrefixLedger(Clock(), max_sessions=2)
    for session in ("a", "b", "a", "c"):
        ledger.observe((session, None), parts("system"))
    assert len(ledger) == 2
    assert ledger.predict(("b", None), parts("system")).stable_tokens == 0
    assert ledger.predict(("a", None), parts("system")).stable_tokens == 100
    ledger.forget(("a", None))
    assert ledger.predict(("a", None), parts("system")).stable_tokens == 0


NAMES = st.lists(st.sampled_from(["system:1", "system:2", "tools", "history:a", "user:b"]), max_size=8)


@given(before=NAMES, after=NAMES)
def test_the_stable_prefix_is_the_longest_common_one(before: list[str], after: list[str]) -> None:
    ledger = PrefixLedger(Clock())
    ledger.observe(KEY, parts(*before))
    predicted = ledger.predict(KEY, parts(*after))
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))))
    assert predicted.stable_tokens == 100 * common <= predicted.total_tokens == 100 * len(after)
    assert (predicted.broken_by is None) == (common == min(len(before), len(after)))
    assert ledger.observe(KEY, parts(*after)) == predicted


def test_threads_share_a_ledger() -> None:
    ledger = PrefixLedger(Clock(), max_sessions=4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ledger.observe((n % 16, None), parts("system", f"user:{n}")), range(800)))
    assert len(ledger) == 4


def test_a_ledger_survives_pickle_and_deepcopy() -> None:
    ledger = PrefixLedger()
    ledger.observe(KEY, parts("system"))
    for other in (copy.deepcopy(ledger), pickle.loads(pickle.dumps(ledger))):
        assert other.observe(KEY, parts("system")).stable_tokens == 100
