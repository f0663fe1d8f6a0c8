"""Public names that are loaded when they are first used (PEP 562), for a package's `__getattr__`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tokenwise_core.errors import MissingExtra


def loader(
    package: str, homes: Mapping[str, str], *, needs: str | None = None, extra: str = ""
) -> Callable[[str], Any]:
    """Return the `__getattr__` of *package*: *homes* says which of its modules each public name lives in.

    Where *needs*, the package that all of them stand on, is absent, using one raises `MissingExtra` naming *extra*.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            if needs is None or error.name is None or error.name.split(".")[0] != needs:
                raise
            raise MissingExtra(needs, extra) from error
        setattr(sys.modules[package], name, value)
        return value

    return load
