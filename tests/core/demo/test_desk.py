"""The desk computes its answers from the records, refuses as a real system does, and keeps its changes to itself."""

from __future__ import annotations

import inspect
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.demo import desk as desk_package
from tokenwise_core.demo.desk import Desk, orders
from tokenwise_core.demo.desk.records import DeskError, Records, add_months, add_working_days
from tokenwise_core.demo.workload.loader import desk_data
from tokenwise_core.messages import ToolDefinition

HOME = {"name": "A", "street": "Hauptplatz 1", "postcode": "8010", "city": "Graz", "country": "AT"}
TOOLS = Desk.tools()


def ask(desk: Desk, name: str, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(desk.call(name, arguments))
    return answer


def refusal(name: str, **arguments: Any) -> str:
    answer = ask(Desk(), name, **arguments)
    assert set(answer) <= {"error", "detail"}, answer
    return str(answer["error"])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_not_there_is_named() -> None:
    assert refusal("get_order", order_id="04711") == "no order 04711"
    assert refusal("get_invoice", invoice_id="OS-1999-1") == "no invoice OS-1999-1"
    assert refusal("get_device", serial="OH9") == "no device OH9"
    assert refusal("list_orders", customer_id="C-9999") == "no customer C-9999"
    assert refusal("fly_to_moon") == "no tool fly_to_moon"


def test_arguments_that_do_not_fit_the_schema_are_refused_with_the_place(desk: Desk) -> None:
    answer = ask(desk, "get_order", order_id=48210)
    assert answer["error"] == "invalid arguments"
    assert "$.order_id" in answer["detail"]
    assert ask(desk, "get_order", order_id="48210", colour="red")["error"] == "invalid arguments"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_parameter_of_a_schema_is_one_of_its_function(tool: ToolDefinition) -> None:
    parameters = inspect.signature(desk_package._FUNCTIONS[tool.name]).parameters
    assert set(parameters) - {"records"} == set(tool.parameters["properties"])
    required = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty} - {"records"}
    assert required == set(tool.parameters.get("required", ()))


def test_a_name_alone_does_not_identify_anybody(desk: Desk) -> None:
    assert "postcode missing" in refusal("find_customer", by={"name": "Tom Okafor"})
    assert ask(desk, "find_customer", by={"name": "tom okafor", "postcode": "ls6 1ax"})["customer_id"] == "C-1002"
    assert ask(desk, "find_customer", by={"phone": "+43660 5550141"})["customer_id"] == "C-1001"
    assert refusal("find_customer", by={"email": "nobody@mail.example"}) == "no such customer"


def test_the_address_of_a_parcel_changes_until_two_in_the_afternoon_before_dispatch() -> None:
    data = desk_data()
    change = {"order_id": "48211", "address": {**HOME, "country": "SE"}, "confirmed_by_customer": True}
    data["now"] = "2026-03-12T14:00"
    assert orders.update_delivery_address(Records(data), **change)["changeable_until"] == "2026-03-12T14:00"
    data["now"] = "2026-03-12T14:01"
    with pytest.raises(DeskError, match="too late"):
        orders.update_delivery_address(Records(data), **change)


def test_the_day_before_a_monday_is_the_friday(desk: Desk) -> None:
    changed = ask(desk, "update_delivery_address", order_id="48210", address=HOME, confirmed_by_customer=True)
    assert changed["changeable_until"] == "2026-03-13T14:00"


def test_an_address_abroad_unconfirmed_or_of_a_dispatched_order_is_refused() -> None:
    confirmed = {"address": HOME, "confirmed_by_customer": True}
    assert "another country" in refusal("update_delivery_address", order_id="48211", **confirmed)
    assert "confirm" in refusal("update_delivery_address", order_id="48210", address=HOME)
    assert "dispatched" in refusal("update_delivery_address", order_id="48103", **confirmed)


def test_a_change_stays_within_its_desk(desk: Desk) -> None:
    ask(desk, "update_delivery_address", order_id="48210", address=HOME, confirmed_by_customer=True)
    assert ask(desk, "get_order", order_id="48210", include=["address"])["address"]["city"] == "Graz"
    assert ask(Desk(), "get_order", order_id="48210", include=["address"])["address"]["city"] == "Linz"


def test_cancelling_a_line_refunds_it_and_cancelling_all_refunds_the_shipping_too(desk: Desk) -> None:
    assert ask(desk, "cancel_order", order_id="48131", lines=["PL-16"], reason="changed_mind")["refund"] == "24.00"
    rest = ask(desk, "cancel_order", order_id="48131", reason="too_slow", comment="enough")
    assert (rest["refund"], rest["status"]) == ("124.90", "cancelled")
    assert "return instead" in refusal("cancel_order", order_id="48102", reason="other")
    assert "no line RL-2" in refusal("cancel_order", order_id="48131", lines=["RL-2"], reason="other")


def returning(order_id: str, sku: str, condition: str, quantity: int = 1) -> dict[str, Any]:
    return {"order_id": order_id, "lines": [{"sku": sku, "quantity": quantity, "condition": condition}]}


def test_the_return_period_depends_on_region_and_condition(desk: Desk) -> None:
    assert ask(desk, "create_return", **returning("46990", "HUB-3", "opened"))["expected_refund"] == "219.00"
    assert "20 days (opened, us)" in refusal("create_return", **returning("47902", "HUB-3-US", "opened"))
    assert ask(desk, "create_return", **returning("47902", "HUB-3-US", "unopened"))["expected_refund"] == "249.00"
    assert ask(desk, "create_return", **returning("47902", "HUB-3-US", "faulty"))["expected_refund"] == "249.00"


def test_a_return_gives_back_what_was_paid_after_the_discount(desk: Desk) -> None:
    assert ask(desk, "create_return", **returning("48077", "PL-16-3", "unopened", 2))["expected_refund"] == "116.16"
    assert "does not hold 3 x PL-16-3" in refusal("create_return", **returning("48077", "PL-16-3", "opened", 3))
    assert "not been delivered" in refusal("create_return", **returning("48210", "CL-3", "opened"))


def test_an_opened_item_in_the_us_costs_a_restocking_fee() -> None:
    data = desk_data()
    data["orders"]["47902"]["delivered"] = "2026-03-01"
    registered = orders.create_return(Records(data), **returning("47902", "CL-3", "opened"))
    assert registered["expected_refund"] == "116.10"


def test_a_battery_has_a_return_period_of_its_own() -> None:
    data = desk_data()
    data["orders"]["48001"]["delivered"] = "2026-02-25"
    with pytest.raises(DeskError, match="14 days"):
        orders.create_return(Records(data), **returning("48001", "CELL-5", "unopened"))
    assert orders.create_return(Records(data), **returning("48001", "BBOX", "unopened"))["expected_refund"] == "690.00"


def test_a_refund_is_expected_after_the_working_days_of_its_means_of_payment(desk: Desk) -> None:
    assert ask(desk, "get_refund_status", reference="R-5498")["expected_by"] == "2026-03-20"
    assert ask(desk, "get_refund_status", reference="R-5519")["expected_by"] == "2026-03-16"
    assert ask(desk, "get_refund_status", reference="R-5460")["state"] == "paid"
    number = ask(desk, "create_return", **returning("46990", "HUB-3", "opened"))["return_id"]
    waiting = ask(desk, "get_refund_status", reference=number, include_steps=True)
    assert (waiting["state"], waiting["expected_by"], len(waiting["steps"])) == ("waiting for the parcel", None, 1)


def test_a_larger_plan_starts_today_with_credit_by_the_day(desk: Desk) -> None:
    quote = ask(desk, "quote_plan_change", customer_id="C-1002", plan="tide", cycle="monthly")
    assert (quote["unused_days"], quote["credit"], quote["due_today"]) == (20, "2.90", "8.00")
    assert Decimal(quote["credit"]) == round(Decimal("4.50") * 20 / 31, 2)


def test_a_smaller_plan_starts_when_the_paid_time_ends(desk: Desk) -> None:
    quote = ask(desk, "quote_plan_change", customer_id="C-1012", plan="flow", cycle="yearly")
    assert (quote["starts"], quote["due_today"]) == ("2026-12-01", "0.00")


def test_a_kept_price_is_credited_as_it_was_paid_and_then_lost(desk: Desk) -> None:
    quote = ask(desk, "quote_plan_change", customer_id="C-1005", plan="tide", cycle="yearly")
    assert (quote["credit"], quote["loses_kept_price"]) == ("7.03", True)


def test_plans_that_are_not_sold_or_held_already_are_refused() -> None:
    us = {"customer_id": "C-1003", "plan": "installer", "cycle": "monthly"}
    assert "not sold in region us" in refusal("quote_plan_change", **us)
    assert "already has" in refusal("quote_plan_change", customer_id="C-1003", plan="flow", cycle="yearly")


def test_a_plan_changes_only_for_the_amount_that_was_quoted(desk: Desk) -> None:
    change = {"customer_id": "C-1002", "plan": "tide", "cycle": "monthly"}
    assert "8.00, not 10.90" in ask(desk, "change_plan", **change, quoted_amount="10.90")["error"]
    assert "cannot be used" in ask(desk, "change_plan", **change, quoted_amount="8.00", voucher="SPRING26")["error"]
    assert ask(desk, "change_plan", **change, quoted_amount="8.00")["paid_to"] == "2026-04-11"
    assert ask(desk, "find_customer", by={"customer_id": "C-1002"})["plan"] == "tide"


def test_a_log_is_narrowed_by_time_level_text_and_length(desk: Desk) -> None:
    serial = {"serial": "OH3-52C1-0917"}
    window = {"start": "2026-03-08T06:38:00", "end": "2026-03-08T06:42:00"}
    whole = desk.call("read_device_log", serial).splitlines()
    errors = desk.call("read_device_log", {**serial, "window": window, "levels": ["error"]}).splitlines()
    assert len(whole) > 80
    assert [line.split()[1] for line in errors[1:]] == ["ERROR", "ERROR"]
    assert desk.call("read_device_log", {**serial, "contains": "e214"}).count("E214") == 2
    assert desk.call("read_device_log", {**serial, "limit": 5}).splitlines()[1:] == whole[-5:]


@pytest.mark.parametrize(
    ("serial", "part", "months", "ends"),
    [
        ("OH3-57A1-0001", "device", 60, "2030-03-14"),
        ("OH3-57A1-0002", "device", 36, "2028-03-14"),
        ("OH3-57A1-0001", "power_supply", 24, "2027-03-14"),
        ("OH3-70A2-8811", "device", 24, "2028-02-21"),
        ("OH2-20B3-7741", "device", 24, "2024-06-10"),
        ("CH22-0420-7718", "cable", 12, "2027-03-02"),
        ("CE10-1188-0042", "device", 120, "2034-10-07"),
        ("CE10-1188-0042", "inverter", 60, "2029-10-07"),
    ],
)
def test_a_warranty_follows_model_region_part_and_registration(serial: str, part: str, months: int, ends: str) -> None:
    answer = ask(Desk(), "check_warranty", serial=serial, part=part)
    assert (answer["months"], answer["ends"]) == (months, ends)
    assert ask(Desk(), "check_warranty", serial=serial, part=part, on=ends)["covered"]


def test_a_part_that_a_model_has_not_is_refused() -> None:
    assert "no cable" in refusal("check_warranty", serial="OH3-57A1-0001", part="cable")


def test_checks_need_a_device_that_is_online_fits_and_may_be_interrupted(desk: Desk) -> None:
    assert "offline since" in refusal("run_diagnostics", serial="OH3-57A1-0002", checks=["network"])
    assert "consent" in refusal("run_diagnostics", serial="CH11-0588-1410", checks=["charge_self_test"])
    assert "not for hub" in refusal("run_diagnostics", serial="OH3-52D8-1127", checks=["cell_balance"])
    weak = ask(desk, "run_diagnostics", serial="OH3-52D8-1127", checks=["network", "storage", "clock"])
    assert [result["ok"] for result in weak["results"]] == [False, True, True]
    failed = ask(desk, "run_diagnostics", serial="CH11-0588-1410", checks=["charge_self_test"], consent=True)
    assert failed["results"][0]["codes"] == ["E412"]


def test_an_update_must_fit_the_hub_and_its_signal(desk: Desk) -> None:
    assert "cannot install 3.5.1" in refusal("schedule_update", serial="OH2-20B3-7741", version="3.5.1")
    assert "E117" in refusal("schedule_update", serial="OH3-52D8-1127", version="3.5.1")
    assert "installed already" in refusal("schedule_update", serial="OH3-61B7-3304", version="3.4.9")
    assert "only hubs" in refusal("schedule_update", serial="CE10-1188-0042", version="3.5.1")
    assert ask(desk, "schedule_update", serial="OH3-57A1-0001", version="3.5.1")["minutes"] == 4


def test_firmware_is_compared_as_numbers(desk: Desk) -> None:
    newer = ask(desk, "get_firmware", model="OH3", channel="stable", since="3.4.7")["releases"]
    assert [release["version"] for release in newer] == ["3.5.1", "3.5.0", "3.4.9"]
    assert "not a version" in refusal("get_firmware", model="OH3", since="latest")


@pytest.mark.parametrize("resolution", ["hour", "day", "month"])
def test_the_total_of_a_report_is_the_sum_of_its_rows(desk: Desk, resolution: str) -> None:
    period = {"from": "2026-03-01", "to": "2026-03-03"}
    table = desk.call("get_energy_report", {"customer_id": "C-1012", "period": period, "resolution": resolution})
    rows = [line.split() for line in table.splitlines()[1:]]
    columns = zip(*[row[-6:] for row in rows], strict=True)
    tolerance = Decimal("0.005") * len(rows)
    assert len(rows) == {"hour": 72, "day": 3, "month": 1}[resolution] + 1
    assert all(abs(sum(map(Decimal, column[:-1])) - Decimal(column[-1])) <= tolerance for column in columns)


def test_a_report_without_readings_or_too_long_is_refused() -> None:
    def report(first: str, last: str) -> str:
        return refusal("get_energy_report", customer_id="C-1001", period={"from": first, "to": last}, resolution="hour")

    assert "no readings" in report("2020-01-01", "2020-01-02")
    assert "31 days" in report("2026-01-01", "2026-03-01")
    assert "not a date" in report("soon", "later")


def test_outages_are_narrowed_by_region_service_state_and_time(desk: Desk) -> None:
    def ids(**arguments: Any) -> list[str]:
        return [outage["id"] for outage in ask(desk, "list_outages", **arguments)["outages"]]

    assert ids(region="us") == ["O-317", "O-310"]
    assert ids(region="eu", state="ongoing") == ["O-315"]
    assert ids(region="eu", services=["api"], window={"from": "2026-03-01", "to": "2026-03-10"}) == ["O-311"]


def test_a_ticket_is_numbered_found_again_and_answered_as_the_plan_promises(desk: Desk) -> None:
    new = {"subject": "Odd noise", "queue": "technical", "body": "Humming at night."}
    first = ask(desk, "create_ticket", customer_id="C-1004", **new)
    second = ask(desk, "create_ticket", customer_id="C-1001", **new)
    assert (first["ticket_id"], first["answer_within"]) == ("T-90312", "3 working days")
    assert (second["ticket_id"], second["answer_within"]) == ("T-90313", "4 working hours")
    found = ask(desk, "search_tickets", customer_id="C-1001", text="humming")["tickets"]
    assert [ticket["ticket_id"] for ticket in found] == ["T-90313"]


@pytest.mark.parametrize(
    ("customer", "when", "start", "reason"),
    [
        ("C-1003", "2026-03-13", "10:00", "no phone line"),
        ("C-1002", "2026-03-14", "10:00", "closed on Saturday"),
        ("C-1001", "2026-03-15", "10:00", "closed on Sunday"),
        ("C-1002", "2026-03-13", "17:00", "outside opening hours"),
        ("C-1001", "2026-03-11", "10:00", "outside opening hours"),
    ],
)
def test_a_call_back_is_within_opening_hours_in_vienna(customer: str, when: str, start: str, reason: str) -> None:
    slot = {"date": when, "from": start}
    assert reason in refusal("schedule_callback", customer_id=customer, slot=slot, topic="x")


def test_a_call_back_is_booked_in_the_customers_time(desk: Desk) -> None:
    slot = {"date": "2026-03-13", "from": "15:30"}
    booked = ask(desk, "schedule_callback", customer_id="C-1002", slot=slot, topic="x")
    assert (booked["local_time"], booked["vienna_time"]) == ("2026-03-13 15:30", "2026-03-13 16:30")


def test_parallel_calls_do_not_share_a_number(desk: Desk) -> None:
    new = {"customer_id": "C-1001", "subject": "x", "queue": "billing", "body": "y"}
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: ask(desk, "create_ticket", **new)["ticket_id"], range(64)))
    assert len(set(numbers)) == 64


def test_working_days_leave_out_weekends_and_months_end_on_their_last_day() -> None:
    assert add_working_days(date(2026, 3, 13), 1) == date(2026, 3, 16)
    assert add_working_days(date(2026, 3, 16), -1) == date(2026, 3, 13)
    assert add_months(date(2024, 2, 29), 12) == date(2025, 2, 28)
    assert add_months(date(2025, 12, 31), 2) == date(2026, 2, 28)


IDS = [key for table in ("customers", "orders", "devices", "invoices", "refunds") for key in desk_data()[table]]


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Anything that the schema allows, with ids of the records among the strings."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        fields = {name: values(field) for name, field in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    if schema["type"] == "array":
        unique = json.dumps if schema.get("uniqueItems") else None
        return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3, unique_by=unique)
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if schema["type"] == "boolean":
        return st.booleans()
    return strings(schema)


def strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date":
        return st.dates(date(2020, 1, 1), date(2030, 12, 31)).map(str)
    if "pattern" in schema:
        known = [key for key in IDS if re.search(schema["pattern"], key)]
        anything = st.from_regex(schema["pattern"], fullmatch=True)
        return st.sampled_from(known) | anything if known else anything
    return st.sampled_from([*IDS, "2026-03-09T02:00", "E2", "", "ü"])


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@given(data=st.data())
def test_every_valid_call_is_answered(tool: ToolDefinition, data: st.DataObject) -> None:
    answer = SHARED.call(tool.name, data.draw(values(dict(tool.parameters))))
    assert answer
    assert "invalid arguments" not in answer


SHARED = Desk()
