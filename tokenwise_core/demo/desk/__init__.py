"""The desk of the imaginary product: 24 tools that really compute their answers from the shipped records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from jsonschema import Draft202012Validator

from tokenwise_core.demo.desk import billing, devices, orders, service
from tokenwise_core.demo.desk.records import DeskError, Records
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.demo.workload.loader import desk_data
from tokenwise_core.messages import ToolDefinition

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        service.find_customer,
        orders.list_orders,
        orders.get_order,
        orders.get_shipment,
        orders.update_delivery_address,
        orders.cancel_order,
        orders.create_return,
        orders.get_refund_status,
        billing.list_invoices,
        billing.get_invoice,
        billing.quote_plan_change,
        billing.change_plan,
        devices.list_devices,
        devices.get_device,
        devices.read_device_log,
        devices.run_diagnostics,
        devices.get_firmware,
        devices.schedule_update,
        devices.check_warranty,
        devices.get_energy_report,
        service.list_outages,
        service.search_tickets,
        service.create_ticket,
        service.schedule_callback,
    )
}


class Desk:
    """The desk's systems; what a tool changes stays within this instance. Safe to call from several threads."""

    def __init__(self) -> None:
        self._records = Records(desk_data())
        self._lock = Lock()

    @staticmethod
    def tools() -> list[ToolDefinition]:
        """Return the tools as they are offered to a model."""
        return list(load_workload().tools)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run a tool and return what it says: JSON or a table, or an error as a real tool words it.

        >>> Desk().call("get_order", {"order_id": "04711"})
        '{"error": "no order 04711"}'
        """
        function = _FUNCTIONS.get(name)
        if function is None:
            return _json({"error": f"no tool {name}"})
        complaint = _complaint(name, arguments)
        if complaint:
            return _json({"error": "invalid arguments", "detail": complaint})
        with self._lock:
            try:
                result = function(self._records, **arguments)
            except DeskError as error:
                return _json({"error": str(error)})
        return result if isinstance(result, str) else _json(result)


def _complaint(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the arguments, by the tool's own schema."""
    schema = next(tool.parameters for tool in load_workload().tools if tool.name == name)
    errors = Draft202012Validator(dict(schema)).iter_errors(dict(arguments))
    first = next(iter(errors), None)
    return f"{first.json_path}: {first.message}" if first else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


__all__ = ["Desk"]
