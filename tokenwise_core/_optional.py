"""The one door to optional packages."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tokenwise_core.errors import MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    """Import *module*, or raise `MissingExtra` with the command that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".", maxsplit=1)[0] != error.name.split(".")[0]:
            raise
        raise MissingExtra(module, extra) from error
