from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import tokenwise_core

PACKAGES = ("tokenwise_core", "tokenwise_core.tokens", "tokenwise_langchain", "tokenwise_llamaindex")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_promised_name_is_there_and_the_list_is_sorted(package: str) -> None:
    module = import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_no_public_name_is_also_a_submodule() -> None:
    submodules = {found.name for found in pkgutil.iter_modules(tokenwise_core.__path__)}
    assert not submodules & set(tokenwise_core.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        tokenwise_core.no_such_name  # noqa: B018


def test_a_name_is_the_same_object_as_in_its_home() -> None:
    home: ModuleType = import_module("tokenwise_core.usage.components")
    assert tokenwise_core.Breakdown is home.Breakdown
