"""The price book: what a call cost, in integer nano-dollars, from dated prices that work offline.

Sources, in this order: what the provider itself reported, the user's overrides, genai-prices (the snapshot that its
wheel carries, or the one that an application has chosen to update), our overlay of service tiers on top. An unknown
model has no price, never another model's, and is warned of once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import genai_prices
from cachetools import LRUCache
from genai_prices import data_snapshot

from tokenwise_core.protocols import Clock
from tokenwise_core.usage.buckets import OWN_MODEL
from tokenwise_core.usage.events import INPUT_BUCKETS, NANO, Cost, Usage
from tokenwise_core.usage.model_price import ModelPrice, counted, nano
from tokenwise_core.usage.price_list import listed_price, price_dates
from tokenwise_core.usage.price_names import Found, find_model, provider_id
from tokenwise_core.usage.price_overrides import Override, Overrides, read_overrides
from tokenwise_core.usage.price_tiers import OVERLAY_VERSION, tier_factor, tier_name

logger = logging.getLogger("tokenwise.prices")

_QUARTER_HOUR = 900  # list prices change at midnight, and off-peak ones on the half hour: never within a quarter
_CACHED_PRICES = 4096
STALE_AFTER_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCheck:
    """Whether a model can be priced: *age_days* is how old the price list is (None for overrides)."""

    model: str
    provider: str | None
    known: bool
    stale: bool
    age_days: int | None
    source: str | None


class PriceBook:
    """Prices of models and costs of calls; safe to share between threads.

    *overrides* is a TOML file or the same structure as a mapping (`usage/price_overrides.py` shows it).

    >>> book = PriceBook(overrides={"models": {"replay-cheap": {"input": 0.10, "output": 0.40}}})
    >>> book.cost(Usage(input_tokens=1000, input_uncached=1000), model="replay-cheap").usd
    Decimal('0.0001')
    """

    def __init__(self, *, overrides: Path | str | Mapping[str, Any] | None = None, clock: Clock = time.time) -> None:
        self._source, self._clock = overrides, clock
        self._overrides: Overrides = read_overrides(overrides)
        self._lock = threading.Lock()
        self._snapshot = data_snapshot.get_snapshot()
        self._found: LRUCache[tuple[str, str | None], Found | None] = LRUCache(_CACHED_PRICES)
        self._prices: LRUCache[tuple[str, str | None, int, str | None], ModelPrice | None] = LRUCache(_CACHED_PRICES)
        self._warned: LRUCache[str, bool] = LRUCache(_CACHED_PRICES)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as what it was made from: locks and caches do not survive a pickle, a deepcopy or another process."""
        return _rebuilt, (self._source, self._clock)

    @property
    def version(self) -> str:
        """Name the prices in use: list, overlay and overrides, so that a stored cost can be recomputed or compared."""
        updated = f"@{self._snapshot.timestamp:%Y%m%d%H%M}" if self._snapshot.from_auto_update else ""
        own = f"+overrides/{self._overrides.version}" if self._overrides.version else ""
        return f"genai-prices/{genai_prices.__version__}{updated}+tiers/{OVERLAY_VERSION}{own}"

    def price(
        self, model: str, provider: str | None = None, at: float | None = None, tier: str | None = None
    ) -> ModelPrice | None:
        """Return the price of *model* in force *at* a time (seconds since the epoch; now by default), or None."""
        when = self._clock() if at is None else at
        name = tier_name(tier)
        key = (model, provider, int(when // _QUARTER_HOUR), name)
        with self._lock:
            self._follow_updates()
            if key in self._prices:
                return self._prices[key]
        price = self._look_up(model, provider, when, name)
        with self._lock:
            self._prices[key] = price
        if price is None and model:
            self._warn_once(f"no price for model {model!r} (provider {provider or 'unknown'}): its cost is unknown")
        return price

    def cost(
        self,
        usage: Usage,
        *,
        model: str | None,
        provider: str | None = None,
        at: float | None = None,
        tier: str | None = None,
    ) -> Cost | None:
        """Return what *usage* cost, or None when that is not known.

        A cost that the provider reported wins (bucket `reported`). *tier* is "batch", "flex", "priority" or another
        name of the provider's; by default the one that the usage names. Tokens beside the totals and fees for web
        searches are the buckets `side_input`, `side_output`, `web_search` and `request`.
        """
        if usage.reported_cost_usd is not None:
            return _reported(usage.reported_cost_usd)
        if not model or (usage.input_tokens is None and usage.output_tokens is None):
            return None
        price = self.price(model, provider, at, tier or usage.service_tier)
        if price is None:
            return None
        tokens = counted(usage)
        by_bucket = price.cost_of(tokens, usage.input_tokens or 0)
        side = self._side_cost(usage, price, provider, at)
        if by_bucket is None or side is None:
            return None
        by_bucket.update(side)
        if usage.web_searches and price.web_search is not None:
            by_bucket["web_search"] = nano(usage.web_searches * price.web_search)
        if price.per_request and (tokens or side):
            by_bucket["request"] = nano(price.per_request)
        return Cost(nano=sum(by_bucket.values()), by_bucket=by_bucket, price_version=price.version)

    def models(self, provider: str | None = None) -> list[ModelPrice]:
        """Return all models with a price now, of *provider* if given: the user's own first, then the list's."""
        now = self._clock()
        wanted = provider_id(provider) or provider
        own = [self._look_up(entry[0].model, entry[0].provider, now, None) for entry in self._overrides.models.values()]
        rows = [price for price in own if price is not None and (wanted is None or price.provider == wanted)]
        for seller in self._snapshot.providers:
            if wanted is None or seller.id == wanted:
                rows.extend(self._from_list((seller, model), now, None) for model in seller.models)
        return [row for row in rows if row.rates]

    def check(self, models: Iterable[str | tuple[str, str | None]]) -> list[PriceCheck]:
        """Say for each model, or (model, provider), whether its price is known, and whether the list is stale."""
        age = self.age_days()
        checks = []
        for item in models:
            model, provider = (item, None) if isinstance(item, str) else item
            price = self._look_up(model, provider, self._clock(), None)
            from_list = price is not None and price.source != "override"
            checks.append(
                PriceCheck(
                    model=model,
                    provider=provider,
                    known=price is not None,
                    stale=from_list and age is not None and age > STALE_AFTER_DAYS,
                    age_days=age if from_list else None,
                    source=price.source if price else None,
                )
            )
        return checks

    def age_days(self) -> int | None:
        """Return how many days ago the price list last changed: its newest dated price that is in force."""
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        if self._snapshot.from_auto_update:
            return max((today - self._snapshot.timestamp.date()).days, 0)
        dates = [day for day in price_dates(self._snapshot) if day <= today]
        return (today - max(dates)).days if dates else None

    def _follow_updates(self) -> None:
        snapshot = data_snapshot.get_snapshot()
        if snapshot is not self._snapshot:  # the application updates prices (genai_prices.UpdatePrices)
            self._snapshot = snapshot
            self._found.clear()
            self._prices.clear()

    def _look_up(self, model: str, provider: str | None, at: float, tier: str | None) -> ModelPrice | None:
        own = self._overrides.find(model, provider, at)
        price = self._own_price(own, model, provider, at, tier) if own else self._list_price(model, provider, at, tier)
        return replace(price, version=self.version) if price is not None else None

    def _own_price(
        self, own: Override, model: str, provider: str | None, at: float, tier: str | None
    ) -> ModelPrice | None:
        if own.price is not None:
            base: ModelPrice | None = own.price
            if base and tier and (factor := tier_factor(provider_id(provider) or "", tier)) is not None:
                base = base.scaled(factor, tier=tier)
        else:
            wanted = own.same_as or model
            base = self._list_price(wanted, provider, at, tier) or self._list_price(wanted, None, at, tier)
        if base is None:
            return None
        priced = base.scaled(1 - own.discount, fees=True) if own.discount else base
        return replace(priced, model=model, provider=provider or priced.provider, source="override")

    def _list_price(self, model: str, provider: str | None, at: float, tier: str | None) -> ModelPrice | None:
        key = (model, provider)
        with self._lock:
            known = key in self._found
            found = self._found.get(key)
        if not known:
            found = find_model(self._snapshot, model, provider)
            with self._lock:
                self._found[key] = found
        if found is None:
            return None
        price = self._from_list(found, at, tier)
        host = provider_id(provider)
        # What Azure sells at OpenAI's price is discounted by the contract with Azure.
        discount = self._overrides.discounts.get(found[0].id if host in (None, "openai") else host)
        if not price.rates:
            return None
        return price.scaled(1 - discount, fees=True) if discount else price

    def _from_list(self, found: Found, at: float, tier: str | None) -> ModelPrice:
        seller, model = found
        when = datetime.fromtimestamp(at, UTC)
        standard = model.get_prices(when)
        price = listed_price(seller, model, standard)
        if tier is None:
            return price
        variant = model.get_prices(when, {"service_tier": tier, "processing": tier, "speed": tier})
        if variant != standard:
            return replace(listed_price(seller, model, variant), tier=tier)
        factor = tier_factor(seller.id, tier)
        if factor is None:
            self._warn_once(
                f"no price for service tier {tier!r} of {seller.id}: its calls are priced at the standard one"
            )
            return price
        return price.scaled(factor, tier=tier)

    def _side_cost(
        self, usage: Usage, price: ModelPrice, provider: str | None, at: float | None
    ) -> dict[str, int] | None:
        """Price what stands beside the totals; an advisor's tokens at the advisor's own price."""
        side = usage.side_buckets
        if not side and (usage.side_input or usage.side_output):
            side = {OWN_MODEL: {"input_uncached": usage.side_input or 0, "output_text": usage.side_output or 0}}
        cost = {"side_input": 0, "side_output": 0} if side else {}
        for model, tokens in side.items():
            prompt = sum(n for bucket, n in tokens.items() if bucket in INPUT_BUCKETS)
            charged = price if model == OWN_MODEL else self.price(model, provider, at, price.tier)
            part = charged.cost_of(tokens, prompt) if charged else None
            if part is None:
                return None
            for bucket, n in part.items():
                cost["side_input" if bucket in INPUT_BUCKETS else "side_output"] += n
        return cost

    def _warn_once(self, message: str) -> None:
        with self._lock:
            if message in self._warned:
                return
            self._warned[message] = True
        logger.warning(message)


def _rebuilt(overrides: Path | str | Mapping[str, Any] | None, clock: Clock) -> PriceBook:
    return PriceBook(overrides=overrides, clock=clock)


def _reported(usd: Decimal) -> Cost:
    amount = int((usd * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))
    return Cost(nano=amount, by_bucket={"reported": amount}, price_version="reported")
