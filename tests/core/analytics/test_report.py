from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from tests.events import START, events, make_event
from tokenwise_core.analytics.formats import csv_report, json_report, plain_report
from tokenwise_core.analytics.report import Report, make_report
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Breakdown, Component, CountSource
from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store import MemoryStore, Query
from tokenwise_core.usage.store.protocol import GROUPS

NOW = START + 600


@pytest.fixture
def store() -> MemoryStore:
    """Forty calls of four agents, an embedding, and a cache hit."""
    store = MemoryStore()
    store.add([make_event(i) for i in range(40)])
    embedding = Breakdown(tokens={Component.USER_INPUT: 7_000}, calls=1)
    usage = Usage(input_tokens=7_000, input_uncached=7_000, output_tokens=0)
    store.add([make_event(40, operation="embedding", breakdown=embedding, usage=usage, cost=None)])
    return store


def report_of(store: MemoryStore, *by: str, query: Query | None = None, top: int | None = None) -> Report:
    return make_report(store, query or Query(), by=by or ("model", "agent"), top=top, clock=lambda: NOW)


def test_the_text_report_reads_like_this(store: MemoryStore) -> None:
    assert plain_report(report_of(store)) == snapshot("""\
TokenWise report, 2026-09-21 14:00 to 2026-09-21 14:23 UTC
memory://
calls                  40
tokens                 42,780
input / output         40,780 / 2,000
cost                   $0.000401
from the prompt cache  39.2 %
latency p50 / p95      119 ms / 137 ms
first token p50 / p95  29 ms / 47 ms
requests a minute      1.7
embeddings, apart      7,000 tokens in 1 call, no known price

Where the tokens went

 component       tokens    share   from cache         cost   of cost
 ───────────────────────────────────────────────────────────────────
 system prompt   20,000   46.8 %       16,000   $0.0000789    19.7 %
 user input      20,780   48.6 %            0    $0.000202    50.4 %
 response         2,000    4.7 %                 $0.000120    29.9 %

 input           40,780   95.3 %       16,000
 output           2,000    4.7 %
 total           42,780                          $0.000401

By model

 model        calls    input   output   cached        cost      p50      p95
 ───────────────────────────────────────────────────────────────────────────
 gpt-5-mini      40   40,780    2,000   39.2 %   $0.000401   119 ms   137 ms

By agent

 agent     calls    input   output   cached        cost      p50      p95
 ────────────────────────────────────────────────────────────────────────
 agent-3      10   10,210      500   39.2 %   $0.000100   119 ms   140 ms
 agent-2      10   10,200      500   39.2 %   $0.000100   117 ms   137 ms
 agent-1      10   10,190      500   39.3 %   $0.000100   117 ms   137 ms
 agent-0      10   10,180      500   39.3 %   $0.000100   117 ms   137 ms
""")


def test_embeddings_stand_apart_from_the_components(store: MemoryStore) -> None:
    report = report_of(store, "agent")
    assert report.totals.calls == 40
    assert report.embeddings.input_tokens == 7_000
    assert sum(report.totals.tokens.values()) == report.totals.total_tokens
    assert sum(row.totals.calls for row in report.groups["agent"]) == 40


@pytest.mark.parametrize(
    "by", ["agent", "model", "session", "user", "day", "hour", "application", "status", "operation"]
)
def test_groups_always_sum_to_the_total(store: MemoryStore, by: str) -> None:
    report = report_of(store, by)
    rows = report.groups[by]
    assert sum(row.totals.total_tokens for row in rows) == report.totals.total_tokens
    assert sum(row.totals.cost_nano for row in rows) == report.totals.cost_nano


def test_calls_of_several_operations_are_one_group(store: MemoryStore) -> None:
    store.add([make_event(100, agent="agent-0", operation="completion")])
    rows = {row.key["agent"]: row.totals.calls for row in report_of(store, "agent").groups["agent"]}
    assert rows["agent-0"] == 11


def test_the_largest_groups_come_first_and_top_keeps_them(store: MemoryStore) -> None:
    rows = report_of(store, "session", top=3).groups["session"]
    sizes = [row.totals.total_tokens for row in rows]
    assert len(rows) == 3
    assert sizes == sorted(sizes, reverse=True)


def test_a_query_narrows_everything(store: MemoryStore) -> None:
    report = report_of(store, "agent", query=Query(agent="agent-1"))
    assert report.totals.calls == 10
    assert [row.key["agent"] for row in report.groups["agent"]] == ["agent-1"]


def test_an_unknown_price_is_counted_and_never_zero(store: MemoryStore) -> None:
    store.add([make_event(50, agent="private", response_model="house-model", cost=None)])
    report = report_of(store, "agent")
    assert report.unpriced == {"house-model": 1}
    text = plain_report(report)
    assert "≥$" in text
    assert "no price is known for 1 call, the cost leaves them out: house-model (1)" in text
    [row] = [row for row in json.loads(json_report(report))["groups"]["agent"] if row["agent"] == "private"]
    assert row["cost_usd"] is None
    assert row["unpriced_calls"] == 1


def test_estimates_are_marked_and_explained() -> None:
    store = MemoryStore()
    counted = make_event(0)
    breakdown = Breakdown(
        tokens=counted.breakdown.tokens, calls=1, source=CountSource.ESTIMATED, split=CountSource.ESTIMATED
    )
    usage = Usage(
        input_tokens=1000, input_uncached=1000, output_tokens=50, output_text=50, source=CountSource.ESTIMATED
    )
    store.add([make_event(0, breakdown=breakdown, usage=usage)])
    text = plain_report(report_of(store))
    assert "≈1,050" in text
    assert "1 of 1 call reported no usage and was counted by us" in text
    assert json.loads(json_report(report_of(store)))["totals"]["source"] == "estimated"


def test_savings_show_their_overhead_and_that_quality_was_not_measured(store: MemoryStore) -> None:
    saving = Saving(
        lever="semantic_cache",
        counterfactual=Spend(input_tokens=900, output_tokens=100, nano=5_000_000),
        actual=Spend(nano=0),
        overhead=Spend(input_tokens=50, nano=1_000_000),
    )
    store.add([make_event(60, status=Status.CACHE_HIT, savings=(saving,), cost=Cost(nano=0))])
    report = report_of(store)
    line = next(line for line in plain_report(report).splitlines() if "semantic_cache" in line)
    assert line.split() == ["semantic_cache", "1", "950", "$0.00400", "$0.00100", "not", "measured"]
    assert report.answered == 1
    [row] = json.loads(json_report(report))["savings"]
    assert row["saved"] == {"input_tokens": 850, "output_tokens": 100, "cost_usd": "0.004"}
    assert row["quality"] is None


def test_json_is_versioned_and_money_is_exact_text(store: MemoryStore) -> None:
    body = json.loads(json_report(report_of(store, "agent")))
    assert body["version"] == 1
    assert body["totals"]["cost_usd"] == "0.00040078"
    assert body["totals"]["latency_ms"]["p50"] == pytest.approx(119, rel=0.02)
    assert [part["component"] for part in body["components"]] == ["system_prompt", "user_input", "response"]
    assert sum(part["share"] for part in body["components"]) == pytest.approx(1, abs=1e-5)


def test_csv_of_a_group_has_a_line_for_each(store: MemoryStore) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_report(report_of(store, "agent")))))
    assert {row["agent"] for row in rows} == {"agent-0", "agent-1", "agent-2", "agent-3"}
    assert sum(int(row["tokens_system_prompt"]) for row in rows) == 20_000


def test_csv_without_a_group_holds_the_components(store: MemoryStore) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_report(report_of(store, "component")))))
    assert [row["component"] for row in rows] == ["system_prompt", "user_input", "response"]


def test_csv_of_an_empty_store_still_has_its_header() -> None:
    assert csv_report(report_of(MemoryStore(), "agent")).startswith("agent,calls,input_tokens")
    assert csv_report(report_of(MemoryStore(), "component")).startswith("component,direction,tokens")


def test_csv_never_holds_a_formula_that_a_spreadsheet_would_run() -> None:
    store = MemoryStore()
    store.add([make_event(0, agent="=HYPERLINK(1)")])
    assert "'=HYPERLINK(1)" in csv_report(report_of(store, "agent"))


def test_names_are_never_read_as_markup() -> None:
    store = MemoryStore()
    store.add([make_event(0, agent="[bold]loud[/bold]")])
    assert "[bold]loud[/bold]" in plain_report(report_of(store, "agent"))


def test_a_name_cannot_command_the_terminal() -> None:
    store = MemoryStore()
    store.add([make_event(0, agent="\x1b[31mred\x07", response_model="\x1b]0;title\x07", cost=None)])
    text = plain_report(report_of(store, "agent"))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[31mred" in text


def test_an_empty_store_gives_a_report_without_figures() -> None:
    text = plain_report(report_of(MemoryStore()))
    assert text.endswith("no calls")
    assert "–" not in text
    assert "Traceback" not in text


def test_requests_a_minute_span_the_time_that_was_asked_for(store: MemoryStore) -> None:
    report = report_of(store, query=Query(since=START, until=START + 400))
    assert report.requests_per_minute == pytest.approx(40 / (400 / 60))
    assert report.busiest_requests_per_minute == report.requests_per_minute


def test_the_busiest_hour_is_never_quieter_than_the_mean(store: MemoryStore) -> None:
    store.add([make_event(200 + i, ts=START + 3 * 3600 + 60 * i) for i in range(30)])
    report = make_report(store, Query(since=START), clock=lambda: START + 4 * 3600)
    assert report.requests_per_minute == pytest.approx(70 / 240)
    assert report.busiest_requests_per_minute == pytest.approx(40 / (2800 / 60))


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # any six events take minutes to shrink
@given(calls=st.lists(events, max_size=6, unique_by=lambda event: event.id), by=st.sampled_from(GROUPS))
def test_law_whatever_was_recorded_groups_sum_to_the_total_and_every_format_can_be_read(
    calls: list[UsageEvent], by: str
) -> None:
    store = MemoryStore()
    store.add(calls)
    report = make_report(store, by=(by,), clock=lambda: NOW)
    if by != "component":
        assert sum(row.totals.calls for row in report.groups[by]) == len(calls)
        assert sum(row.totals.total_tokens for row in report.groups[by]) == report.totals.total_tokens
    assert json.loads(json_report(report))["totals"]["calls"] == len(calls)
    groups = list(csv.DictReader(io.StringIO(csv_report(report), newline="")))
    spent = {c for c in Component if report.totals.tokens.get(c) or report.totals.nano.get(c)}  # fees have no tokens
    assert len(groups) == len(report.groups.get(by, spent))
    assert ("Where the tokens went" if calls else "no calls") in plain_report(report)


def test_what_cannot_be_grouped_by_is_bad_input(store: MemoryStore) -> None:
    with pytest.raises(BadInput, match="colour"):
        report_of(store, "colour")


def shown(*events: UsageEvent, query: Query | None = None, now: float = NOW) -> str:
    store = MemoryStore()
    store.add(events)
    return plain_report(make_report(store, query or Query(), clock=lambda: now))


def test_failed_and_aborted_calls_are_told_in_the_head() -> None:
    ends = [Status.OK, Status.ERROR, *[Status.ABORTED] * 4]
    events = [make_event(i, status=status) for i, status in enumerate(ends)]
    assert "calls                  6 (1 failed, 4 aborted)\n" in shown(*events)
    assert "(" not in shown(make_event()).splitlines()[2]


def test_a_rate_is_told_of_minutes_and_a_busiest_hour_of_hours_only() -> None:
    events, start = [make_event(i) for i in range(40)], Query(since=START)
    assert "requests a minute" not in shown(*events, query=start, now=START + 35)
    assert "busiest hour" not in shown(*events, query=start, now=START + 600)
    assert "requests a minute      4\n" in shown(*events, query=start, now=START + 600)
    assert "busiest hour" in shown(*events, query=start, now=START + 7200)


def test_savings_without_a_price_are_unknown_not_at_least_unknown() -> None:
    saving = Saving(lever="trim", counterfactual=Spend(input_tokens=10), actual=Spend(input_tokens=4))
    assert "≥" not in shown(make_event(savings=[saving]))


@pytest.mark.parametrize(
    ("provider", "cost", "told"),
    [
        (None, None, "run here, no price"),
        ("openai", None, "no known price"),
        ("openai", Cost(nano=2_000_000, by_bucket={}), "$0.00200"),
    ],
)
def test_embeddings_say_why_they_cost_nothing(provider: str | None, cost: Cost | None, told: str) -> None:
    event = make_event(operation="embedding", provider=provider, cost=cost)
    line = next(line for line in shown(event).splitlines() if line.startswith("embeddings"))
    assert line.endswith(told)


def test_one_call_was_counted_and_two_were() -> None:
    usage = Usage(input_tokens=5, input_uncached=5, output_tokens=0, source=CountSource.EXACT)
    assert "1 of 1 call reported no usage and was counted" in shown(make_event(usage=usage))
    assert "2 of 2 calls reported no usage and were counted" in shown(*(make_event(i, usage=usage) for i in (1, 2)))


def test_a_table_of_the_largest_groups_says_that_there_are_more(store: MemoryStore) -> None:
    assert "By agent: the 2 with the most tokens (there are more)" in plain_report(report_of(store, "agent", top=2))
    assert "By agent\n" in plain_report(report_of(store, "agent", top=4))


def test_a_breakdown_of_no_calls_claims_nothing_about_them() -> None:
    assert str(Breakdown()).endswith("\nno calls")
