from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.events import START, events, make_event
from tokenwise_core.analytics.html import PAGE_GROUPS, html_report
from tokenwise_core.analytics.plots import nice_ceiling, shortened
from tokenwise_core.analytics.report import make_report
from tokenwise_core.analytics.timeline import MAX_BINS, make_timeline
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.store import MemoryStore

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>&'
VOID = {"meta", "img", "br"}


def page_of(store: MemoryStore) -> str:
    report = make_report(store, by=PAGE_GROUPS, clock=lambda: START + 1000)
    return html_report(report, make_timeline(store, report))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add([make_event(i) for i in range(60)])
    return store


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    return parser


def test_the_page_is_well_formed(store: MemoryStore) -> None:
    assert tags(page_of(store)).open == []
    for svg in re.findall(r"<svg.*?</svg>", page_of(store), re.DOTALL):
        ET.fromstring(svg)


def test_the_page_loads_nothing_and_runs_nothing(store: MemoryStore) -> None:
    page = page_of(store)
    for tag, attributes in tags(page).seen:
        assert tag not in {"script", "link", "iframe", "img", "object"}
        assert not {"src", "href", "onclick", "onerror", "onload"} & set(attributes)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_every_promised_plot_is_there(store: MemoryStore) -> None:
    page = page_of(store)
    for title in (
        "Tokens by component", "From call to call in the session", "Cost by agent", "Input read from the prompt cache",
        "Input and output by model", "Sessions with the most tokens",
    ):  # fmt: skip
        assert title in page
    assert page.count("<svg") == 6


@pytest.mark.parametrize("field", ["agent", "session", "user", "response_model", "provider"])
def test_names_are_escaped_wherever_they_stand(field: str) -> None:
    store = MemoryStore()
    store.add([make_event(i, **{field: EVIL}) for i in range(3)])
    page = page_of(store)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert tags(page).open == []


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a page of any events takes minutes to shrink
@given(calls=st.lists(events, max_size=5, unique_by=lambda event: event.id))
def test_law_any_names_give_a_well_formed_page(calls: list[UsageEvent]) -> None:
    store = MemoryStore()
    store.add(calls)
    page = page_of(store)
    assert tags(page).open == []
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)


def test_an_empty_store_still_gives_a_page() -> None:
    page = page_of(MemoryStore())
    assert "No calls are recorded for this time." in page
    assert tags(page).open == []


def test_calls_without_prices_sessions_or_caches_are_said_to_lack_them() -> None:
    store = MemoryStore()
    bare = make_event(0).usage.__class__(input_tokens=10, input_uncached=10, output_tokens=1, output_text=1)
    store.add([make_event(0, session=None, cost=None, usage=bare)])
    page = page_of(store)
    for sentence in ("No call has a known price.", "No call names a session.", "No provider said how much"):
        assert sentence in page


def test_the_page_follows_light_and_dark(store: MemoryStore) -> None:
    page = page_of(store)
    assert "prefers-color-scheme: dark" in page
    assert 'name="color-scheme" content="light dark"' in page


@pytest.mark.parametrize(("apart", "seconds"), [(0.1, 1), (1, 2), (60, 120), (400, 3600), (40_000, 86_400)])
def test_the_columns_of_the_timeline_hold_all_tokens_at_any_scale(apart: float, seconds: int) -> None:
    store = MemoryStore()
    store.add([make_event(i, ts=START + apart * i) for i in range(60)])
    report = make_report(store, by=PAGE_GROUPS)
    bins = make_timeline(store, report).bins
    assert {b.seconds for b in bins} == {seconds}
    assert sum(n for b in bins for n in b.tokens.values()) == report.totals.total_tokens
    assert seconds == 86_400 or len(bins) <= MAX_BINS + 1
    assert [b.start for b in bins] == [bins[0].start + seconds * i for i in range(len(bins))]


def test_growth_shows_the_calls_of_the_largest_session_in_order(store: MemoryStore) -> None:
    report = make_report(store, by=PAGE_GROUPS)
    timeline = make_timeline(store, report)
    assert timeline.session == "session-11"
    assert [sum(parts.values()) for parts in timeline.growth] == [1105, 1106, 1107, 1108, 1109]


def test_growth_keeps_to_one_framework_where_two_play_the_same_session(store: MemoryStore) -> None:
    store.add([make_event(i + 100, session="shared", framework="langchain") for i in range(4)])
    store.add([make_event(i + 200, session="shared", framework="llamaindex") for i in range(4)])
    report = make_report(store, by=PAGE_GROUPS)
    timeline = make_timeline(store, report)
    assert timeline.session == "shared"
    assert len(timeline.growth) == 4


def test_long_names_keep_what_tells_them_apart() -> None:
    names = [f"conversation-2026-09-21-number-{i}-of-the-day" for i in range(3)]
    short = shortened(names)
    assert len(set(short)) == 3
    assert all(len(name) <= 22 for name in short)
    assert shortened(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(("value", "ceiling"), [(0, 1), (0.7, 0.8), (1, 1), (57_000, 60_000), (101, 120)])
def test_axes_end_on_round_numbers(value: float, ceiling: float) -> None:
    assert nice_ceiling(value) == pytest.approx(ceiling)
