"""Claude finds what it holds no more than 20 blocks before the last mark: a burst of tool results is paid in full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.memory.test_cutting import SYSTEM, call, result, said, situation, user
from tokenwise_core.memory.economics import Rates
from tokenwise_core.memory.prefix import marks
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.view import View
from tokenwise_core.usage.prompt_cache import PromptCacheRules

CLAUDE = Rates.of(PromptCacheRules.for_model("claude-sonnet-4-5", "anthropic"), None)
GPT = Rates.of(PromptCacheRules.for_model("gpt-5", "openai"), None)
NAMES = [f"c{n}" for n in range(12)]


def after(results: int, *, rates: Rates, fixed: int = 2_000) -> Situation:
    """Return the request after a question that *results* calls side by side were made for."""
    begun = (SYSTEM, *(message for _ in range(40) for message in (user(), said())), user())
    before = situation(*begun)
    plan = before.plan(View())
    view = replace(View(), last=marks(plan.parts)).seen(before.conversation)
    burst = (call(*NAMES[:results]), *map(result, NAMES[:results]))
    return situation(*begun, *burst, view=view, rates=rates, fixed=fixed)


def shared(now: Situation) -> int:
    return now.compared(now.plan(now.view)).stable_tokens


def test_the_rates_of_claude_know_its_marks() -> None:
    assert (CLAUDE.breakpoints, CLAUDE.lookback_blocks) == (4, 20)
    assert GPT.lookback_blocks is None


def test_a_few_results_leave_what_was_sent_before_in_reach() -> None:
    now = after(10, rates=CLAUDE)  # ten calls and ten results
    assert not now.is_out_of_reach
    assert shared(now) == now.fixed + now.conversation.tokens(0, now.view.length)


def test_a_burst_of_results_leaves_only_the_mark_behind_the_tools() -> None:
    now = after(11, rates=CLAUDE)
    assert now.is_out_of_reach
    assert shared(now) == now.fixed
    assert now.everything == pytest.approx(2_000 * 0.1 + now.conversation.total * 1.25)
    assert now.cost(now.plan(now.view)) == pytest.approx(now.everything)


def test_with_one_mark_nothing_is_found_after_a_burst() -> None:
    one = Rates(breakpoints=1, lookback_blocks=20)
    assert shared(after(11, rates=one)) == 0


def test_a_cache_without_marks_finds_it_however_far() -> None:
    now = after(12, rates=GPT)
    assert not now.is_out_of_reach
    assert shared(now) == now.fixed + now.conversation.tokens(0, now.view.length)
