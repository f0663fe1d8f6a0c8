"""The desk's records: look-ups that fail as a real system does, and its calendar and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Record = dict[str, Any]
_SATURDAY = 5


class DeskError(Exception):
    """A tool refuses; the message is what the model gets to read."""


@dataclass(slots=True)
class Records:
    """A private, changeable copy of the shipped records."""

    data: Record
    counters: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.counters = dict(self.rules["next_numbers"])

    @property
    def rules(self) -> Record:
        """Return price lists, return periods and the like."""
        rules: Record = self.data["rules"]
        return rules

    @property
    def now(self) -> datetime:
        """Return the desk's frozen clock, Vienna time."""
        return datetime.fromisoformat(self.data["now"])

    @property
    def today(self) -> date:
        """Return the desk's day."""
        return self.now.date()

    def table(self, name: str) -> dict[str, Record]:
        """Return all records of a kind by their id."""
        table: dict[str, Record] = self.data[name]
        return table

    def find(self, table: str, id: str, noun: str) -> Record:
        """Return one record, or refuse with "no order 4711"."""
        record = self.table(table).get(id)
        if record is None:
            raise DeskError(f"no {noun} {id}")
        return record

    def customer(self, id: str) -> Record:
        """Return a customer or refuse."""
        return self.find("customers", id, "customer")

    def of_customer(self, table: str, customer_id: str) -> list[tuple[str, Record]]:
        """Return what a customer has in a table, as (id, record)."""
        self.customer(customer_id)
        return [(key, record) for key, record in self.table(table).items() if record["customer_id"] == customer_id]

    def next_number(self, name: str) -> int:
        """Return the next running number of a kind."""
        number = self.counters[name]
        self.counters[name] = number + 1
        return number


def day(text: str) -> date:
    """Read a day, or refuse."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise DeskError(f"{text!r} is not a date of the form YYYY-MM-DD") from error


def moment(text: str) -> datetime:
    """Read a local time, or refuse; a zone is dropped, since all logs are in the site's local time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise DeskError(f"{text!r} is not a time of the form YYYY-MM-DDTHH:MM") from error


def within(span: Mapping[str, str] | None, when: str) -> bool:
    """Tell whether a day lies in an inclusive span; no span holds all days."""
    return span is None or day(span["from"]) <= day(when) <= day(span["to"])


def add_working_days(start: date, count: int) -> date:
    """Go *count* working days forward, or back where it is negative."""
    step = timedelta(1 if count > 0 else -1)
    current, left = start, abs(count)
    while left:
        current += step
        left -= current.weekday() < _SATURDAY
    return current


def add_months(start: date, months: int) -> date:
    """Go whole months forward; the last day of a shorter month where the day does not exist."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    for day_of_month in range(start.day, 27, -1):
        try:
            return date(year, month + 1, day_of_month)
        except ValueError:
            continue
    return date(year, month + 1, start.day)


def cents(amount: Decimal) -> str:
    """Print an amount with two decimals."""
    return str(amount.quantize(Decimal("0.01"), ROUND_HALF_UP))
