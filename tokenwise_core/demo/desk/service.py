"""Customers, outages, tickets and calls back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenwise_core.demo.desk.records import DeskError, Record, Records, day

_FRIDAY, _SATURDAY = 4, 5
_HOURS = ("08:00", "17:30")
_SATURDAY_HOURS = ("09:00", "14:30")


def find_customer(records: Records, *, by: Mapping[str, str], include: Sequence[str] = ()) -> Record:
    """Look a customer up by number, e-mail, phone, or name and postcode."""
    matches = [(key, record) for key, record in records.table("customers").items() if _matches(key, record, by)]
    if len(matches) != 1:
        raise DeskError("give customer_id, email, phone, or name with postcode" if matches else "no such customer")
    customer_id, customer = matches[0]
    basic = ("name", "company", "email", "language", "region", "currency", "plan", "cycle", "paid_from", "paid_to",
             "first_paid", "kept_price", "site")  # fmt: skip
    parts = {name: customer["site" if name == "sites" else name] for name in include}
    return {"customer_id": customer_id, **{name: customer[name] for name in basic}, **parts}


def list_outages(
    records: Records,
    *,
    region: str,
    window: Mapping[str, str] | None = None,
    services: Sequence[str] = (),
    state: str | None = None,
) -> Record:
    """List interruptions of the cloud, newest first."""
    rows = [
        outage
        for outage in records.data["outages"]
        if outage["region"] == region
        and state in {None, outage["state"]}
        and (not services or set(services) & set(outage["services"]))
        and _touches(outage, window)
    ]
    return {"region": region, "as_of": records.data["now"], "outages": sorted(rows, key=_start, reverse=True)}


def search_tickets(
    records: Records, *, customer_id: str, text: str | None = None, state: Sequence[str] = (), limit: int = 5
) -> Record:
    """Search a customer's tickets, newest first."""
    words = (text or "").casefold().split()
    rows = []
    for number, ticket in records.of_customer("tickets", customer_id):
        content = " ".join([ticket["subject"], *(note["text"] for note in ticket["notes"])]).casefold()
        if (not state or ticket["state"] in state) and (not words or any(word in content for word in words)):
            head = {name: ticket[name] for name in ("opened", "state", "queue", "subject")}
            rows.append({"ticket_id": number, **head, "last_note": ticket["notes"][-1]})
    return {"customer_id": customer_id, "tickets": sorted(rows, key=lambda row: row["opened"], reverse=True)[:limit]}


def create_ticket(
    records: Records,
    *,
    customer_id: str,
    subject: str,
    queue: str,
    body: str,
    priority: str = "normal",
    attachments: Sequence[Mapping[str, str]] = (),
    tags: Sequence[str] = (),
) -> Record:
    """Open a ticket; the plan decides how soon it is answered."""
    plan = records.customer(customer_id)["plan"]
    number = f"T-{records.next_number('ticket')}"
    now = records.data["now"]
    records.table("tickets")[number] = {
        "customer_id": customer_id, "opened": now[:10], "state": "open", "queue": queue, "subject": subject,
        "notes": [{"time": now, "text": body}],
    }  # fmt: skip
    attached = [item["id"] for item in attachments]
    return {"ticket_id": number, "queue": queue, "priority": priority, "attachments": attached, "tags": list(tags),
            "answer_within": records.rules["answer_times"][plan]}  # fmt: skip


def schedule_callback(
    records: Records,
    *,
    customer_id: str,
    slot: Mapping[str, str],
    topic: str,
    phone: str | None = None,
    language: str = "en",
) -> Record:
    """Book a call within opening hours, which are kept in Vienna time."""
    customer = records.customer(customer_id)
    if customer["region"] == "us":
        raise DeskError("there is no phone line in the US: offer chat or a ticket")
    when = day(slot["date"])
    hour, minute = (int(part) for part in slot["from"].split(":"))
    vienna = f"{hour - customer['hours_from_vienna']:02}:{minute:02}"
    hours = _HOURS if when.weekday() <= _FRIDAY else _SATURDAY_HOURS
    if when.weekday() > _SATURDAY or (when.weekday() == _SATURDAY and customer["plan"] != "tide"):
        raise DeskError(f"closed on {when:%A}, {when}")
    if when < records.today or not hours[0] <= vienna <= hours[1]:
        opening = f"{hours[0]} to {hours[1]}, Vienna time"
        raise DeskError(f"{slot['date']} {slot['from']} is outside opening hours ({opening})")
    number = f"CB-{records.next_number('callback')}"
    return {"callback_id": number, "local_time": f"{when} {slot['from']}", "vienna_time": f"{when} {vienna}",
            "phone": phone or customer["phone"], "topic": topic, "language": language}  # fmt: skip


def _matches(id: str, customer: Record, by: Mapping[str, Any]) -> bool:
    if "name" in by and "postcode" not in by and len(by) == 1:
        raise DeskError("more than one customer may bear this name: postcode missing")
    known = {"customer_id": id, "email": customer["email"], "phone": customer["phone"], "name": customer["name"],
             "postcode": customer["site"]["postcode"]}  # fmt: skip
    return bool(by) and all(_plain(known[key]) == _plain(value) for key, value in by.items())


def _plain(text: str) -> str:
    return "".join(text.casefold().split())


def _touches(outage: Record, window: Mapping[str, str] | None) -> bool:
    if window is None:
        return True
    end = outage["end"] or "9999-12-31"
    return day(outage["start"]) <= day(window["to"]) and day(end) >= day(window["from"])


def _start(outage: Record) -> str:
    start: str = outage["start"]
    return start
