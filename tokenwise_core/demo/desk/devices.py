"""Devices, logs, firmware, warranty and readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tokenwise_core.demo.desk.records import DeskError, Record, Records, add_months, day, moment

_WEAK_DBM = -75
_SPREAD_MV = 120
_CLOCK_SECONDS = 300
_UPDATE_MB = 300
_HOURLY_DAYS = 31
_CHECKED = {
    "network": ("hub",), "clock": ("hub",), "storage": ("hub",), "clamps": ("hub", "clamp"),
    "cell_balance": ("cell",), "cell_isolation": ("cell",), "charge_self_test": ("charge",),
}  # fmt: skip
"""Which kinds of device can make a check."""
_FAMILIES = {"clamps": "E2", "cell_isolation": "E315", "charge_self_test": "E412"}
"""The codes that a check looks for."""


def list_devices(
    records: Records, *, customer_id: str, kinds: Sequence[str] = (), offline_only: bool = False
) -> Record:
    """List a customer's devices."""
    rows = [
        {"serial": serial, "kind": device["kind"], "model": device["model"], "firmware": device["firmware"],
         "online": device["online"], "errors": [error["code"] for error in device.get("errors", ())]}
        for serial, device in records.of_customer("devices", customer_id)
        if (not kinds or device["kind"] in kinds) and not (offline_only and device["online"])
    ]  # fmt: skip
    return {"customer_id": customer_id, "devices": rows, "count": len(rows)}


def get_device(records: Records, *, serial: str, sections: Sequence[str] = ()) -> Record:
    """Return the state of a device."""
    device = _device(records, serial)
    wanted = sections or ("status", "network", "settings", "errors", "history")
    always = ("customer_id", "kind", "model", "firmware", "online", "delivered", "registered")
    basic = {name: device[name] for name in always}
    return {"serial": serial, **basic, **{name: device[name] for name in wanted if name in device}}


def read_device_log(
    records: Records,
    *,
    serial: str,
    window: Mapping[str, str] | None = None,
    levels: Sequence[str] = (),
    contains: str | None = None,
    limit: int = 200,
) -> str:
    """Return a hub's log as text, newest last."""
    _device(records, serial)
    lines: list[list[str]] = records.data["logs"].get(serial, [])
    if window:
        start, end = moment(window["start"]), moment(window["end"])
        lines = [line for line in lines if start <= moment(line[0]) < end]
    if levels:
        lines = [line for line in lines if line[1] in levels]
    if contains:
        lines = [line for line in lines if contains.casefold() in " ".join(line).casefold()]
    shown = lines[-limit:]
    head = f"log of {serial}: {len(shown)} of {len(lines)} lines"
    return "\n".join([head, *(f"{at} {level.upper():7} {module:8} {text}" for at, level, module, text in shown)])


def run_diagnostics(records: Records, *, serial: str, checks: Sequence[str], consent: bool = False) -> Record:
    """Run checks against the state of a device."""
    device = _device(records, serial)
    if not device["online"]:
        raise DeskError(f"{serial} is offline since {device['network']['last_seen']}: no checks possible")
    if "charge_self_test" in checks and not consent:
        raise DeskError("charge_self_test interrupts charging: the customer's consent is needed")
    return {"serial": serial, "results": [{"check": name, **_check(name, device)} for name in checks]}


def get_firmware(records: Records, *, model: str, channel: str | None = None, since: str | None = None) -> Record:
    """List firmware releases, newest first."""
    releases = [
        {name: release[name] for name in ("version", "channel", "date", "changes", "known_faults")}
        for release in records.data["firmware"]
        if release["model"] == model
        and channel in {None, release["channel"]}
        and (since is None or _version(release["version"]) > _version(since))
    ]
    return {"model": model, "releases": sorted(releases, key=lambda row: _version(row["version"]), reverse=True)}


def schedule_update(
    records: Records,
    *,
    serial: str,
    version: str,
    window: Mapping[str, Any] | None = None,
    notify: Sequence[str] = (),
) -> Record:
    """Schedule an update, or refuse what the hub cannot install."""
    device = _device(records, serial)
    release = _release(records, device, version)
    network = device["network"]
    if network["link"] == "wifi" and network["signal_dbm"] < _WEAK_DBM:
        raise DeskError(f"E117: signal {network['signal_dbm']} dBm is below {_WEAK_DBM} dBm: use Ethernet or USB")
    start = window["start"] if window else f"{records.today + timedelta(1)}T02:00"
    hours = window.get("hours", 2) if window else 2
    device["planned_update"] = {"version": version, "start": start, "hours": hours}
    return {"serial": serial, "from": device["firmware"], **device["planned_update"], "channel": release["channel"],
            "minutes": 4 if network["link"] == "ethernet" else 9, "notify": list(notify)}  # fmt: skip


def check_warranty(records: Records, *, serial: str, on: str | None = None, part: str = "device") -> Record:
    """Compute the end of a warranty by region, delivery and registration."""
    device = _device(records, serial)
    region = records.customer(device["customer_id"])["region"]
    rules = records.rules["warranty"]
    rule = rules.get(device["model"].split("-")[0], rules["other"])[region]
    months, extended = _months(device, rule, part)
    ends = add_months(day(device["delivered"]), months)
    asked = day(on) if on else records.today
    return {"serial": serial, "model": device["model"], "part": part, "delivered": device["delivered"],
            "registered": device["registered"], "extended_by_registration": extended, "months": months,
            "ends": ends.isoformat(), "asked_day": asked.isoformat(), "covered": asked <= ends}  # fmt: skip


def get_energy_report(
    records: Records, *, customer_id: str, period: Mapping[str, str], resolution: str, metrics: Sequence[str] = ()
) -> str:
    """Return readings as a table with totals; refuses where no readings are kept."""
    records.customer(customer_id)
    first, last = day(period["from"]), day(period["to"])
    if resolution == "hour" and (last - first).days >= _HOURLY_DAYS:
        raise DeskError(f"hourly tables hold at most {_HOURLY_DAYS} days")
    days = {
        when: hours
        for when, hours in records.data["readings"].get(customer_id, {}).items()
        if first <= day(when) <= last
    }
    if not days:
        raise DeskError(f"no readings of {customer_id} from {first} to {last}")
    names: list[str] = records.data["columns"]
    columns = [names.index(name) for name in (metrics or names)]
    return _table(_rows(days, resolution), [names[column] for column in columns], columns)


def _rows(days: Mapping[str, list[list[int]]], resolution: str) -> dict[str, list[int]]:
    """Sum watt-hours by hour, day or month."""
    rows: dict[str, list[int]] = {}
    for when, hours in days.items():
        for hour, values in enumerate(hours):
            key = {"hour": f"{when} {hour:02}:00", "day": when, "month": when[:7]}[resolution]
            rows[key] = [a + b for a, b in zip(rows.get(key, [0] * len(values)), values, strict=True)]
    return rows


def _table(rows: Mapping[str, list[int]], heads: Sequence[str], columns: Sequence[int]) -> str:
    def line(key: str, cells: Sequence[str]) -> str:
        return f"{key:<16}" + "".join(f"{cell:>{len(head) + 2}}" for cell, head in zip(cells, heads, strict=True))

    body = [line(key, [f"{values[column] / 1000:.2f}" for column in columns]) for key, values in rows.items()]
    totals = [f"{sum(values[column] for values in rows.values()) / 1000:.2f}" for column in columns]
    return "\n".join([line("time", heads), *body, line("total", totals)])


def _check(name: str, device: Record) -> Record:
    """Return one check's result; a check that the device cannot make is refused."""
    if device["kind"] not in _CHECKED[name]:
        raise DeskError(f"check {name} is for {' or '.join(_CHECKED[name])}, not for {device['kind']}")
    status, network = device.get("status", {}), device.get("network", {})
    if name == "network":
        link, signal = network["link"], network["signal_dbm"]
        return {"ok": link == "ethernet" or signal >= _WEAK_DBM, "link": link, "signal_dbm": signal}
    if name == "clock":
        offset = network["clock_offset_seconds"]
        return {"ok": abs(offset) < _CLOCK_SECONDS, "offset_seconds": offset}
    if name == "storage":
        free = status["free_storage_mb"]
        return {"ok": free >= _UPDATE_MB, "free_mb": free, "needed_mb": _UPDATE_MB}
    if name == "cell_balance":
        spread = status["spread_mv"]
        return {"ok": spread <= _SPREAD_MV, "spread_mv": spread, "limit_mv": _SPREAD_MV}
    found = [error["code"] for error in device["errors"] if error["code"].startswith(_FAMILIES[name])]
    return {"ok": not found, "codes": found}


def _months(device: Record, rule: Mapping[str, int], part: str) -> tuple[int, bool]:
    """Return the months of cover and whether registration extended them."""
    if part in rule:
        return rule[part], False
    if part != "device":
        raise DeskError(f"{device['model']} has no {part} with a warranty of its own")
    if device["commercial"] and "commercial" in rule:
        return rule["commercial"], False
    if device["registered"] and "register_days" in rule:
        delay = (day(device["registered"]) - day(device["delivered"])).days
        if delay <= rule["register_days"]:
            return rule["extended_months"], True
    return rule["months"], False


def _release(records: Records, device: Record, version: str) -> Record:
    if device["kind"] != "hub":
        raise DeskError("only hubs are updated; other devices follow their hub")
    releases: list[Record] = records.data["firmware"]
    match = next((row for row in releases if row["version"] == version and row["model"] == device["model"]), None)
    if match is None:
        raise DeskError(f"{device['model']} cannot install {version}")
    if _version(version) <= _version(device["firmware"]):
        raise DeskError(f"{device['firmware']} is installed already; going back is done in the app within 72 hours")
    return match


def _device(records: Records, serial: str) -> Record:
    return records.find("devices", serial, "device")


def _version(text: str) -> tuple[int, ...]:
    if not all(part.isdigit() for part in text.split(".")):
        raise DeskError(f"{text!r} is not a version of the form 3.4.0")
    return tuple(int(part) for part in text.split("."))
