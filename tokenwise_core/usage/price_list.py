"""Entries of genai-prices as exact rates by bucket of `Usage`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction

from genai_prices import types as listed
from genai_prices.data_snapshot import DataSnapshot

from tokenwise_core.usage.events import NANO
from tokenwise_core.usage.model_price import NANO_PER_TOKEN, ModelPrice, Rate, fill_rates

_LISTED = {
    "input_uncached": ("input_mtok", "input_text_mtok"),
    "cache_read": ("cache_read_mtok", "cache_text_read_mtok"),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "input_audio": ("input_audio_mtok",),
    "input_image": ("input_image_mtok",),
    "input_video": ("input_video_mtok",),
    "output_text": ("output_mtok", "output_text_mtok"),
    "reasoning": ("output_reasoning_mtok",),
    "output_audio": ("output_audio_mtok",),
    "output_image": ("output_image_mtok",),
}
_PER_THOUSAND = Fraction(NANO, 1000)


def listed_price(seller: listed.Provider, model: listed.ModelInfo, prices: listed.ModelPrice) -> ModelPrice:
    """Return *prices*, of *model* at *seller*, as exact rates by bucket."""
    rates = {}
    for bucket, keys in _LISTED.items():
        rate = next((r for r in (_rate(getattr(prices, key, None)) for key in keys) if r is not None), None)
        if rate is not None:
            rates[bucket] = rate
    return ModelPrice(
        model=model.id,
        provider=seller.id,
        rates=fill_rates(rates, model=model.id),
        per_request=_each(getattr(prices, "requests_kcount", None)) or Fraction(0),
        web_search=_each(getattr(prices, "web_searches_kcount", None)),
        context_window=model.context_window,
        deprecated=bool(model.deprecated),
    )


def _each(price: Decimal | listed.TieredPrices | None) -> Fraction | None:
    """Return nano-dollars apiece of what is listed in dollars for a thousand."""
    if price is None:
        return None
    return Fraction(price.base if isinstance(price, listed.TieredPrices) else price) * _PER_THOUSAND


def _rate(price: Decimal | listed.TieredPrices | None) -> Rate | None:
    if price is None:
        return None
    if isinstance(price, listed.TieredPrices):
        tiers = tuple((tier.start, Fraction(tier.price) * NANO_PER_TOKEN) for tier in price.tiers)
        return Rate(Fraction(price.base) * NANO_PER_TOKEN, tiers)
    return Rate(Fraction(price) * NANO_PER_TOKEN)


def price_dates(snapshot: DataSnapshot) -> Iterator[date]:
    """Yield the day that each dated price starts on."""
    for seller in snapshot.providers:
        for model in seller.models:
            for dated in model.prices if isinstance(model.prices, list) else ():
                if isinstance(dated.constraint, listed.StartDateConstraint):
                    yield dated.constraint.start_date
