"""Orders, shipments, returns and refunds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from tokenwise_core.demo.desk.records import DeskError, Record, Records, add_working_days, cents, day, within

_BATTERIES = ("CELL-5", "CELL-10")
_CUTOFF = time(14, 0)


def list_orders(
    records: Records,
    *,
    customer_id: str,
    status: Sequence[str] = (),
    placed: Mapping[str, str] | None = None,
    limit: int = 10,
) -> Record:
    """List a customer's orders, newest first."""
    found = [
        {"order_id": number, "placed": order["placed"], "status": order["status"], "total": _total(order),
         "currency": order["currency"], "items": [f"{line['quantity']} x {line['sku']}" for line in order["lines"]]}
        for number, order in records.of_customer("orders", customer_id)
        if (not status or order["status"] in status) and within(placed, order["placed"])
    ]  # fmt: skip
    found.sort(key=lambda row: row["placed"], reverse=True)
    return {"customer_id": customer_id, "orders": found[:limit], "total_count": len(found)}


def get_order(records: Records, *, order_id: str, include: Sequence[str] = ()) -> Record:
    """Return one order."""
    order = records.find("orders", order_id, "order")
    basic = ("customer_id", "placed", "status", "currency", "lines", "discount", "shipping", "service", "slot")
    parts = {name: order[name] for name in include}
    dispatch = {"planned_dispatch" if order["status"] in {"open", "packed"} else "dispatched_on": order["dispatch"]}
    delivered = {"delivered": order["delivered"]} if order["delivered"] else {}
    shown = {name: order[name] for name in basic}
    return {"order_id": order_id, **shown, **dispatch, **delivered, "total": _total(order), **parts}


def get_shipment(
    records: Records, *, order_id: str | None = None, tracking_number: str | None = None, scans: bool = True
) -> Record:
    """Track a shipment by order or tracking number."""
    if order_id is None and tracking_number is None:
        raise DeskError("give order_id or tracking_number")
    if order_id is None:
        order_id = _order_of(records, tracking_number)
    order = records.find("orders", order_id, "order")
    shipment = records.table("shipments").get(order_id)
    if shipment is None:
        raise DeskError(f"order {order_id} has not been dispatched, status {order['status']}")
    shown = shipment["scans"] if scans else shipment["scans"][-1:]
    return {"order_id": order_id, "status": order["status"], **shipment, "scans": shown}


def update_delivery_address(
    records: Records,
    *,
    order_id: str,
    address: Mapping[str, str],
    confirmed_by_customer: bool = False,
    note: str | None = None,
) -> Record:
    """Change the address until the cut-off: 14:00 on the working day before dispatch, 3 working days for pallets."""
    order = records.find("orders", order_id, "order")
    if order["status"] not in {"open", "packed"}:
        raise DeskError(f"order {order_id} is {order['status']}: the address can no longer be changed")
    if address["country"] != order["address"]["country"]:
        raise DeskError(f"{address['country']} is not {order['address']['country']}: another country needs a new order")
    deadline = _address_deadline(order)
    if records.now > deadline:
        raise DeskError(f"too late: the address of order {order_id} could be changed until {_minute(deadline)}")
    if not confirmed_by_customer:
        raise DeskError("the customer must confirm the new address first (confirmed_by_customer)")
    order["address"] = dict(address)
    order["history"].append({"time": _minute(records.now), "event": "address changed by the desk"})
    changed = {"order_id": order_id, "address": order["address"], "changeable_until": _minute(deadline)}
    return {**changed, "note": note} if note else changed


def cancel_order(
    records: Records, *, order_id: str, reason: str, lines: Sequence[str] | None = None, comment: str | None = None
) -> Record:
    """Cancel an order or some of its lines before dispatch, and say what is refunded."""
    order = records.find("orders", order_id, "order")
    if order["status"] not in {"open", "packed"}:
        raise DeskError(f"order {order_id} is {order['status']}: register a return instead")
    skus = {line["sku"] for line in order["lines"]}
    gone = set(lines or skus)
    if unknown := gone - skus:
        raise DeskError(f"order {order_id} has no line {', '.join(sorted(unknown))}")
    before = Decimal(_total(order))
    order["lines"] = [line for line in order["lines"] if line["sku"] not in gone]
    if not order["lines"]:
        order["status"], order["shipping"] = "cancelled", "0.00"
    refund = cents(before - Decimal(_total(order)))
    event = f"cancelled {', '.join(sorted(gone))}: {reason}" + (f" ({comment})" if comment else "")
    order["history"].append({"time": _minute(records.now), "event": event})
    return {"order_id": order_id, "cancelled": sorted(gone), "status": order["status"], "refund": refund,
            "currency": order["currency"], "refund_by": _refund_day(records, order).isoformat()}  # fmt: skip


def create_return(
    records: Records,
    *,
    order_id: str,
    lines: Sequence[Mapping[str, Any]],
    refund_to: str = "original_payment",
    pickup: Mapping[str, str] | None = None,
) -> Record:
    """Register a return, or refuse it with the day until which it was possible."""
    order = records.find("orders", order_id, "order")
    if order["delivered"] is None:
        raise DeskError(f"order {order_id} has not been delivered: cancel it or wait for delivery")
    refund = sum((_refund_of_line(records, order_id, order, line) for line in lines), Decimal(0))
    number = f"R-{records.next_number('returns')}"
    hand_over = records.today + timedelta(14)
    records.table("refunds")[number] = {
        "customer_id": order["customer_id"], "order_id": order_id, "amount": cents(refund),
        "currency": order["currency"], "method": refund_to if refund_to == "store_credit" else order["payment"],
        "region": _region(records, order), "steps": [{"time": _minute(records.now), "event": "registered"}],
        "started": None, "paid": None,
    }  # fmt: skip
    return {"return_id": number, "order_id": order_id, "expected_refund": cents(refund), "currency": order["currency"],
            "hand_over_until": hand_over.isoformat(),
            "label": f"https://label.ostrel.example/{number}.pdf" if pickup is None else None,
            "pickup": dict(pickup) if pickup else None}  # fmt: skip


def get_refund_status(records: Records, *, reference: str, include_steps: bool = False) -> Record:
    """Say where a refund stands and when it is expected."""
    refund = records.table("refunds").get(reference)
    if refund is None:
        if reference in records.table("invoices"):
            return {"reference": reference, "state": "no refund has been approved for this invoice"}
        raise DeskError(f"no return or invoice {reference}")
    shown = {name: refund[name] for name in ("order_id", "amount", "currency", "method", "started", "paid")}
    state = "paid" if refund["paid"] else "started" if refund["started"] else "waiting for the parcel"
    days = records.rules["refund_working_days"][refund["region"]].get(refund["method"])
    expected = add_working_days(day(refund["started"]), days) if refund["started"] and days else None
    steps = {"steps": refund["steps"]} if include_steps else {}
    return {"reference": reference, "state": state, **shown, "expected_by": expected and expected.isoformat(), **steps}


def _refund_of_line(records: Records, order_id: str, order: Record, line: Mapping[str, Any]) -> Decimal:
    bought = next((item for item in order["lines"] if item["sku"] == line["sku"]), None)
    if bought is None or line["quantity"] > bought["quantity"]:
        raise DeskError(f"order {order_id} does not hold {line['quantity']} x {line['sku']}")
    amount: Decimal = Decimal(bought["unit_price"]) * line["quantity"]
    amount -= amount * Decimal((order["discount"] or {}).get("percent", 0)) / 100
    if line["condition"] in {"faulty", "damaged_in_transit"}:
        return amount
    region = _region(records, order)
    rules = records.rules["returns"]
    days = rules["battery"] if line["sku"] in _BATTERIES else rules[region][line["condition"]]
    last = day(order["delivered"]) + timedelta(days)
    if records.today > last:
        terms = f"{days} days ({line['condition']}, {region})"
        raise DeskError(f"return period of {terms} for order {order_id} ended on {last}")
    if region == "us" and line["condition"] == "opened":
        amount -= amount * Decimal(rules["us_restocking_percent"]) / 100
    return amount


def _total(order: Record) -> str:
    goods = sum((Decimal(line["unit_price"]) * line["quantity"] for line in order["lines"]), Decimal(0))
    percent = Decimal((order["discount"] or {}).get("percent", 0))
    return cents(goods * (100 - percent) / 100 + Decimal(order["shipping"]))


def _region(records: Records, order: Record) -> str:
    region: str = records.customer(order["customer_id"])["region"]
    return region


def _refund_day(records: Records, order: Record) -> date:
    days = records.rules["refund_working_days"][_region(records, order)][order["payment"]]
    return add_working_days(records.today, days)


def _address_deadline(order: Record) -> datetime:
    if order["service"] == "pallet":
        return datetime.combine(add_working_days(day(order["slot"]), -3), time(23, 59))
    return datetime.combine(add_working_days(day(order["dispatch"]), -1), _CUTOFF)


def _order_of(records: Records, tracking_number: str | None) -> str:
    for order_id, shipment in records.table("shipments").items():
        if shipment["tracking_number"] == tracking_number:
            return order_id
    raise DeskError(f"no shipment {tracking_number}")


def _minute(when: datetime) -> str:
    return when.isoformat(timespec="minutes")
