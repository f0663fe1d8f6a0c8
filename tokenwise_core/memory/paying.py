"""What every strategy asks before it changes what is shown: does that earn back what it costs, and may we spend it?"""

from __future__ import annotations

from tokenwise_core.memory.economics import EPSILON, Rates, block_size
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.view import View


def over(situation: Situation, view: View) -> int:
    """Return by how many tokens *view* exceeds the hard limit; 0 where it does not, or there is none."""
    limit = situation.limits.max_tokens
    return 0 if limit is None else max(0, situation.total(situation.plan(view)) - limit)


def is_above_target(situation: Situation, view: View) -> bool:
    """Say whether *view* shows more than the soft limit."""
    return situation.total(situation.plan(view)) > situation.limits.target


def keeps_guard(situation: Situation, done: View, *, epsilon: float = EPSILON) -> bool:
    """Say whether *done* may be sent: our sum stays within the guard, or it costs no more than what is shown now.

    *done* carries what was spent for it in its account.
    """
    cost = situation.cost(situation.plan(done))
    if done.account.allows(cost, situation.everything, epsilon=epsilon):
        return True
    spent = done.account.ours - situation.view.account.ours
    return spent + cost <= situation.cost(situation.plan(situation.view))


def pays(situation: Situation, done: View, *, epsilon: float = EPSILON) -> bool:
    """Say whether showing *done* from now on earns back what breaking the prefix costs, and keeps the guard.

    Break-even by difference: n* = (cost of sending it now − cost of sending what is shown) ÷ what each later request
    saves; as many requests are taken to come as there have been.
    """
    before, after = situation.plan(situation.view), situation.plan(done)
    if after.tokens >= before.tokens or not keeps_guard(situation, done, epsilon=epsilon):
        return False
    extra = situation.cost(after) - situation.cost(before)
    if extra <= 0:
        return True
    rates, fixed = situation.rates, situation.fixed
    gain = steady(rates, fixed + before.tokens) - steady(rates, fixed + after.tokens)
    if gain <= 0 or extra > gain * max(situation.view.account.requests, 1):
        return False
    kept = fixed + after.tokens - situation.compared(after).stable_tokens
    least = block_size(growth=situation.growth, kept=kept, summary=0, rates=rates)
    return before.tokens - after.tokens >= least


def recall_room(situation: Situation, view: View, budget: int) -> int:
    """Return what recall may take of its *budget*: what the hard limit leaves, and what half of the guard's ε does.

    The other half is left for the next summary. Where everything would not fit, recall is not compared with it.
    """
    limit, plan = situation.limits.max_tokens, situation.plan(view)
    if limit is not None:
        budget = min(budget, limit - situation.total(plan))
    if limit is not None and situation.full * situation.scale > limit:
        return budget
    slack = view.account.slack(situation.cost(plan), situation.everything, epsilon=EPSILON / 2)
    return min(budget, int(slack / situation.rates.write))


def steady(rates: Rates, tokens: int) -> float:
    """Return what a context of *tokens* costs each time that it is sent again.

    One that is too short for the provider's cache will be written to it whole when it has grown: it costs no less.
    """
    if not rates.caches or tokens >= rates.min_tokens:
        return rates.request(tokens, tokens)
    return rates.write * rates.min_tokens
