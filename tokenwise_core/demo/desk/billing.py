"""Invoices and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from tokenwise_core.demo.desk.records import DeskError, Record, Records, add_months, cents, day, within


def list_invoices(
    records: Records,
    *,
    customer_id: str,
    period: Mapping[str, str] | None = None,
    kind: str = "any",
    unpaid_only: bool = False,
) -> Record:
    """List a customer's invoices, newest first."""
    shown = ("issued", "kind", "amount", "currency", "status", "paid")
    rows = [
        {"invoice_id": number, **{name: invoice[name] for name in shown}}
        for number, invoice in records.of_customer("invoices", customer_id)
        if kind in {"any", invoice["kind"]}
        and within(period, invoice["issued"])
        and not (unpaid_only and invoice["status"] == "paid")
    ]
    return {"customer_id": customer_id, "invoices": sorted(rows, key=lambda row: row["issued"], reverse=True)}


def get_invoice(records: Records, *, invoice_id: str, send_to: str | None = None, format: str = "pdf") -> Record:
    """Return an invoice in full, and send a copy if asked."""
    invoice = records.find("invoices", invoice_id, "invoice")
    plan = records.customer(invoice["customer_id"])["plan"]
    if format != "pdf" and plan != "installer":
        raise DeskError(f"format {format} is for Installer customers only")
    sent = {"sent": {"to": send_to, "format": format}} if send_to else {}
    return {"invoice_id": invoice_id, **invoice, **sent}


def quote_plan_change(records: Records, *, customer_id: str, plan: str, cycle: str, on: str | None = None) -> Record:
    """Compute what a change costs: larger plans at once with credit by the day, smaller ones at the period's end."""
    customer = records.customer(customer_id)
    when = day(on) if on else records.today
    new_price = _price(records, customer, plan, cycle)
    ranks = records.rules["ranks"]
    if (plan, cycle) == (customer["plan"], customer["cycle"]):
        raise DeskError(f"{customer_id} already has {plan} {cycle}")
    quote = {"customer_id": customer_id, "from": _label(customer["plan"], customer["cycle"]), "to": _label(plan, cycle),
             "currency": customer["currency"], "new_price": cents(new_price)}  # fmt: skip
    if ranks[plan] < ranks[customer["plan"]]:
        starts = day(customer["paid_to"]) + timedelta(1)
        return {**quote, "starts": starts.isoformat(), "credit": "0.00", "due_today": "0.00"}
    credit, days_left = _credit(records, customer, when)
    return {**quote, "starts": when.isoformat(), "unused_days": days_left, "credit": cents(credit),
            "due_today": cents(new_price - credit), "loses_kept_price": customer["kept_price"] is not None}  # fmt: skip


def change_plan(
    records: Records, *, customer_id: str, plan: str, cycle: str, quoted_amount: str, voucher: str | None = None
) -> Record:
    """Change the subscription if the quoted amount still holds."""
    if voucher is not None:
        held_for = records.rules["vouchers"].get(voucher, "nothing, the code is unknown")
        raise DeskError(f"voucher {voucher} cannot be used for subscriptions: it is for {held_for}")
    quote = quote_plan_change(records, customer_id=customer_id, plan=plan, cycle=cycle)
    if quote["due_today"] != quoted_amount:
        raise DeskError(f"the amount is {quote['due_today']}, not {quoted_amount}: quote again")
    customer = records.customer(customer_id)
    starts = day(quote["starts"])
    if starts > records.today:
        customer["planned_change"] = {"plan": plan, "cycle": cycle, "starts": quote["starts"]}
        return {"customer_id": customer_id, "planned": customer["planned_change"], "charged": "0.00"}
    end = add_months(starts, 12 if cycle == "yearly" else 1) - timedelta(1)
    customer.update(plan=plan, cycle=cycle, paid_from=starts.isoformat(), paid_to=end.isoformat(), kept_price=None)
    return {"customer_id": customer_id, "plan": plan, "cycle": cycle, "paid_to": end.isoformat(),
            "charged": quoted_amount, "currency": customer["currency"]}  # fmt: skip


def _price(records: Records, customer: Record, plan: str, cycle: str) -> Decimal:
    if plan == "spark":
        return Decimal(0)
    prices = records.rules["prices"][customer["region"]].get(plan)
    if prices is None or cycle not in prices:
        raise DeskError(f"{_label(plan, cycle)} is not sold in region {customer['region']}")
    return Decimal(prices[cycle])


def _credit(records: Records, customer: Record, when: date) -> tuple[Decimal, int]:
    """Return the unused part of what was paid, by the day and rounded as it is booked, and the days."""
    if customer["paid_to"] is None or when > day(customer["paid_to"]):
        return Decimal(0), 0
    start, end = day(customer["paid_from"]), day(customer["paid_to"])
    days, left = (end - start).days + 1, (end - when).days + 1
    kept = customer["kept_price"]
    paid = Decimal(kept) if kept else _price(records, customer, customer["plan"], customer["cycle"])
    return Decimal(cents(paid * left / days)), left


def _label(plan: str, cycle: str | None) -> str:
    return f"{plan} {cycle}" if cycle and plan != "spark" else plan
