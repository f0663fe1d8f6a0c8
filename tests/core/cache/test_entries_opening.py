"""From a URL to the store of entries that it names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokenwise_core.cache.entries import Codec, MemoryEntries, SQLiteEntries, open_entries
from tokenwise_core.errors import BadInput


def test_each_url_names_its_store(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    assert isinstance(open_entries("memory://"), MemoryEntries)
    for url in (str(path), f"sqlite:///{path}"):
        opened = open_entries(url, codec=Codec())
        assert isinstance(opened, SQLiteEntries)
        assert opened.url == f"sqlite:///{path}"
    shared = open_entries("postgresql+psycopg://user:plum@host/name")
    assert shared.url == "postgresql://user:***@host/name"
    assert not path.exists()  # nothing is opened before the first use


@pytest.mark.parametrize("url", ["mysql://user:plum@host/name", "sqlite://", "://", "plum://"])
def test_a_url_that_names_no_store_is_bad_input_and_its_password_is_not_shown(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_entries(url)
    assert ":plum@" not in str(caught.value)


def test_importing_the_stores_brings_neither_sqlalchemy_nor_a_driver() -> None:
    code = "import sys, tokenwise_core.cache.entries; print({'sqlalchemy', 'psycopg', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
