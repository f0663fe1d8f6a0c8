"""`tokenwise prices`: what models cost, and which recorded models have no price."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.notation import UNKNOWN, count
from tokenwise_core.analytics.report import EMBEDDING
from tokenwise_core.analytics.tables import Table
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput
from tokenwise_core.settings import load_settings
from tokenwise_core.usage.model_price import ModelPrice
from tokenwise_core.usage.pricing import STALE_AFTER_DAYS, PriceBook
from tokenwise_core.usage.store import Store

UNPRICED = 1
_BUCKETS = {"input": "input_uncached", "cached": "cache_read", "cache write": "cache_write_5m", "output": "output_text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A model that the store has calls of: *known* if it has a price now; *unpriced* calls were booked without one.

    *own* is an embedding model that no provider sells: it runs here, and costs nothing by the token.
    """

    model: str
    provider: str | None
    calls: int
    unpriced: int
    known: bool
    own: bool = False

    @property
    def missing(self) -> bool:
        return bool(self.unpriced) and not self.known and not self.own

    @property
    def verdict(self) -> str:
        if self.own:
            return "runs here"
        if self.missing:
            return "no price"
        if self.unpriced:
            return f"priced now, {self.unpriced:,} older calls are not"
        return "priced"


def add_arguments(parser: Parser) -> None:
    """Declare the subcommands and their arguments."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    listing = commands.add_parser("show", help="list prices in dollars for a million tokens")
    listing.add_argument("models", nargs="*", metavar="MODEL", help="these models (default: all)")
    listing.add_argument("--provider", help="only what this provider sells")
    check = commands.add_parser(
        "check",
        help="name recorded models without a price, and the age of the price list",
        description="Exits with 1 when calls of a model without a price are recorded, so that a job can notice.",
    )
    check.add_store(default=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Show or check."""
    book = PriceBook(overrides=load_settings().prices)
    if arguments.action == "show":
        return _show(book, arguments.models, arguments.provider)
    return _check(book, arguments.store)


def _show(book: PriceBook, models: Sequence[str], provider: str | None) -> int:
    if not models:
        prices = sorted(book.models(provider), key=lambda price: (price.provider, price.model))
        if not prices:
            raise BadInput(f"no prices are known of provider {provider!r}")
        show(rich_table(_price_table(prices)), _source(book))
        return 0
    found = {model: book.price(model, provider) for model in models}
    known = [price for price in found.values() if price is not None]
    if known:
        show(rich_table(_price_table(known)), _source(book))
    unknown = [model for model, price in found.items() if price is None]
    if unknown:
        where = f" at {provider}" if provider else ""
        raise BadInput(f"no price is known for {', '.join(map(repr, unknown))}{where} (TOKENWISE_PRICES adds your own)")
    return 0


def _check(book: PriceBook, url: str | None) -> int:
    with existing_store(url) as store:
        recorded = _recorded(store, book)
    rows = [(r.model, r.provider or UNKNOWN, count(r.calls), r.verdict) for r in recorded]
    if rows:
        show(rich_table(Table(title="Recorded models", columns=("model", "provider", "calls", "price"), rows=rows)))
    else:
        show("no calls are recorded")
    show(_source(book))
    missing = [r.model for r in recorded if r.missing]
    if missing:
        show(f"name prices for {', '.join(missing)} in a TOML file and set TOKENWISE_PRICES to its path")
    return UNPRICED if missing else 0


def _recorded(store: Store, book: PriceBook) -> list[Recorded]:
    rows = [row for row in store.totals(by=("model", "provider", "operation")) if row.key["model"] is not None]
    names = [(str(row.key["model"]), _text(row.key["provider"])) for row in rows]
    return [
        Recorded(
            model=model,
            provider=provider,
            calls=row.totals.calls,
            unpriced=row.totals.unpriced_calls if row.totals.total_tokens else 0,
            known=check.known,
            own=row.key["operation"] == EMBEDDING and provider is None and not check.known,
        )
        for (model, provider), row, check in zip(names, rows, book.check(names), strict=True)
    ]


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _source(book: PriceBook) -> str:
    """Say where prices come from and how old they are."""
    age = book.age_days()
    if age is None:
        return f"prices: {book.version}"
    old = ", old: pip install --upgrade genai-prices" if age > STALE_AFTER_DAYS else ""
    return f"prices: {book.version}, last changed {age} days ago{old}"


def _price_table(prices: Sequence[ModelPrice]) -> Table:
    return Table(
        title="Dollars for a million tokens",
        columns=("model", "provider", *_BUCKETS, "context"),
        rows=[
            (
                f"{price.model} (yours)" if price.source == "override" else price.model,
                price.provider,
                *(_dollars(price.usd_per_mtok(bucket)) for bucket in _BUCKETS.values()),
                count(price.context_window),
            )
            for price in prices
        ],
    )


def _dollars(usd: Decimal | None) -> str:
    return UNKNOWN if usd is None else f"{usd.normalize():f}"
