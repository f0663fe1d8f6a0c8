"""The user's own prices: contracts, private models, deployments under other names.

    # tokenwise-prices.toml: dollars for a million tokens, before any long-context tier
    [providers.openai]
    discount = 0.15                   # committed: 15 % off all list prices of this provider

    [models."acme-support-prod"]      # an Azure deployment: priced as what it runs
    same_as = "gpt-5-mini"
    discount = 0.10

    [models."in-house-70b"]
    provider = "acme"                 # optional: only there
    input = 0.20
    output = 0.60
    cache_read = 0.02                 # what is left out costs as plain input or output
    cache_write = 0.25
    cache_write_1h = 0.40
    reasoning = 0.60
    request = 0.001                   # dollars a call
    web_search = 0.01                 # dollars a search
    context_window = 131072
    since = 2026-09-01                # optional; several entries with dates: [[models."in-house-70b"]]
    long_context = { above = 200000, input = 0.40, output = 1.20 }

A model's entry wins over the list; a provider's discount applies to list prices only. The same structure as a mapping
(`PriceBook(overrides={"models": {...}})`) is the same thing.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.events import NANO
from tokenwise_core.usage.model_price import NANO_PER_TOKEN, ModelPrice, Rate, fill_rates
from tokenwise_core.usage.price_names import provider_id

_RATE_KEYS = {
    "input": "input_uncached", "cache_read": "cache_read", "cache_write": "cache_write_5m",
    "cache_write_1h": "cache_write_1h", "input_audio": "input_audio", "input_image": "input_image",
    "input_video": "input_video", "output": "output_text", "reasoning": "reasoning", "output_audio": "output_audio",
    "output_image": "output_image",
}  # fmt: skip
_OTHER_KEYS = frozenset({
    "provider", "same_as", "discount", "request", "web_search", "context_window", "since", "long_context",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One entry for a model: rates of its own, or another model's (*same_as*), less *discount*."""

    model: str
    provider: str | None = None
    since: date = date.min
    same_as: str | None = None
    discount: Fraction = Fraction(0)
    price: ModelPrice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """All of the user's entries, and a hash that names this version of them."""

    models: Mapping[str, tuple[Override, ...]] = field(default_factory=dict)
    discounts: Mapping[str, Fraction] = field(default_factory=dict)
    version: str = ""

    def find(self, model: str, provider: str | None, at: float) -> Override | None:
        """Return the newest entry for *model* that was in force *at* this time."""
        entries = self.models.get(model.strip().lower())
        if not entries:
            return None
        day = datetime.fromtimestamp(at, UTC).date()
        host = _host(provider)
        fitting = [e for e in entries if e.since <= day and (e.provider is None or e.provider == host)]
        return max(fitting, key=lambda entry: (entry.since, entry.provider is not None), default=None)


def read_overrides(source: Path | str | Mapping[str, Any] | None) -> Overrides:
    """Read a TOML file or a mapping of the same structure; raise `BadInput` with the place of what is wrong."""
    if source is None:
        return Overrides()
    data = source if isinstance(source, Mapping) else _read_file(Path(source))
    _checked(data, {"models", "providers"}, "prices")
    models: dict[str, tuple[Override, ...]] = {}
    for name, entries in _table(data, "models").items():
        listed = entries if isinstance(entries, list) else [entries]
        models[name.strip().lower()] = tuple(_override(name, entry) for entry in listed)
    discounts = {}
    for name, value in _table(data, "providers").items():
        entry = _checked(value, {"discount"}, f"providers.{name}")
        discounts[_host(name) or name] = _discount(entry, f"providers.{name}")
    digest = hashlib.blake2b(json.dumps(data, sort_keys=True, default=str).encode(), digest_size=4)
    return Overrides(models=models, discounts=discounts, version=digest.hexdigest())


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"the price file {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the price file {path} is not valid TOML: {error}") from error


def _override(model: str, value: object) -> Override:
    where = f'models."{model}"'
    entry = _checked(value, _RATE_KEYS.keys() | _OTHER_KEYS, where)
    rates = _rates(entry, where)
    same_as = entry.get("same_as")
    if bool(rates) == bool(same_as) and (rates or "discount" not in entry):
        raise BadInput(f'{where}: give either rates (input = ..., output = ...), same_as = "MODEL", or a discount')
    provider = _host(str(entry["provider"])) if "provider" in entry else None
    price = ModelPrice(
        model=model,
        provider=provider or "",
        rates=fill_rates(rates, model=model.lower()),
        per_request=_money(entry.get("request", 0), f"{where}.request") * NANO,
        web_search=_money(entry["web_search"], f"{where}.web_search") * NANO if "web_search" in entry else None,
        context_window=entry.get("context_window"),
        source="override",
    )
    return Override(
        model=model,
        provider=provider,
        since=_since(entry, where),
        same_as=str(same_as) if same_as else None,
        discount=_discount(entry, where),
        price=price if rates else None,
    )


def _host(provider: str | None) -> str | None:
    """Return the price list's id of *provider*, or its own name: "Azure OpenAI" and `azure_openai` are one."""
    return provider_id(provider) or (provider.strip().lower() if provider else None)


def _rates(entry: Mapping[str, Any], where: str) -> dict[str, Rate]:
    longer = _checked(entry.get("long_context", {}), _RATE_KEYS.keys() | {"above"}, f"{where}.long_context")
    above = longer.get("above", 0)
    if longer and not (isinstance(above, int) and above > 0):
        raise BadInput(f"{where}.long_context.above: expected a number of prompt tokens, got {above!r}")
    rates = {}
    for key, bucket in _RATE_KEYS.items():
        if key in entry:
            base = _money(entry[key], f"{where}.{key}") * NANO_PER_TOKEN
            dearer = _money(longer[key], f"{where}.long_context.{key}") * NANO_PER_TOKEN if key in longer else None
            rates[bucket] = Rate(base, ((above, dearer),) if dearer is not None else ())
    return rates


def _money(value: object, where: str) -> Fraction:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise BadInput(f"{where}: expected dollars, not below zero, got {value!r}")
    return Fraction(amount)


def _discount(entry: Mapping[str, Any], where: str) -> Fraction:
    discount = _money(entry.get("discount", 0), f"{where}.discount")
    if discount > 1:
        raise BadInput(f"{where}.discount: expected a fraction such as 0.15, got {entry['discount']!r}")
    return discount


def _since(entry: Mapping[str, Any], where: str) -> date:
    since = entry.get("since", date.min)
    if isinstance(since, datetime):
        return since.date()
    if isinstance(since, str):
        try:
            return date.fromisoformat(since)
        except ValueError as error:
            raise BadInput(f"{where}.since: expected a date such as 2026-09-01, got {since!r}") from error
    if not isinstance(since, date):
        raise BadInput(f"{where}.since: expected a date such as 2026-09-01, got {since!r}")
    return since


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, Mapping):
        raise BadInput(f"prices.{name}: expected a table, got {type(table).__name__}")
    return table


def _checked(entry: object, known: Iterable[str], where: str) -> Mapping[str, Any]:
    """Return *entry* as a table that has no other keys than *known*: a misspelt price must not be a missing one."""
    if not isinstance(entry, Mapping):
        raise BadInput(f"{where}: expected a table, got {type(entry).__name__}")
    names = sorted(known)
    if unknown := sorted(str(key) for key in entry if key not in names):
        raise BadInput(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(names)}")
    return entry
