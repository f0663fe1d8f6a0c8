"""Which library runs a model folder, and what is said where that library is missing."""

from __future__ import annotations

import copy
import hashlib
import pickle
import sys
from pathlib import Path

import pytest

from tokenwise_core.embeddings import ENVIRONMENT, SentenceTransformerEmbedder, default_embedder
from tokenwise_core.embeddings.handle import Handle
from tokenwise_core.errors import BadInput, MissingExtra

WEIGHTS = b"no real weights"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sentence-transformers folder without an ONNX file."""
    saved = tmp_path / "my-model"
    saved.mkdir()
    (saved / "modules.json").write_text("[]")
    (saved / "model.safetensors").write_bytes(WEIGHTS)
    return saved


@pytest.fixture
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)


@pytest.mark.usefixtures("_absent")
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_folder_that_only_sentence_transformers_reads_names_its_extra(
    folder: Path, by_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(folder) if by_environment else "")
    embedder = default_embedder(None if by_environment else folder)
    with pytest.raises(MissingExtra, match=r'pip install "tokenwise\[sentence-transformers\]"'):
        embedder.embed(["tea"])


def test_its_id_is_that_of_the_folder_and_needs_no_library(folder: Path) -> None:
    expected = f"my-model@{hashlib.sha256(WEIGHTS).hexdigest()[:12]}"
    assert default_embedder(folder).id == SentenceTransformerEmbedder(folder).id == expected
    assert SentenceTransformerEmbedder(str(folder)).id == expected


def test_other_weights_are_another_id_and_a_second_format_of_the_same_is_not(folder: Path) -> None:
    first = SentenceTransformerEmbedder(folder).id
    (folder / "pytorch_model.bin").write_bytes(b"the same in another format")
    assert SentenceTransformerEmbedder(folder).id == first
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "model.safetensors").write_bytes(b"another module")
    assert SentenceTransformerEmbedder(folder).id != first


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no weights in .*safetensors"):
        _ = SentenceTransformerEmbedder(tmp_path).id


def test_a_folder_with_an_onnx_file_needs_no_sentence_transformers(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(WEIGHTS)
    with pytest.raises(Exception, match="onnx"):  # onnxruntime was asked, and says that this is no model
        default_embedder(folder).embed(["tea"])


@pytest.mark.usefixtures("_absent")
def test_a_hub_name_is_not_looked_up_without_the_library() -> None:
    with pytest.raises(MissingExtra, match="sentence-transformers"):
        SentenceTransformerEmbedder("nobody/no-model").embed(["tea"])


def test_copies_are_made_before_anything_is_loaded(folder: Path) -> None:
    embedder = SentenceTransformerEmbedder(folder)
    for twin in (copy.deepcopy(embedder), pickle.loads(pickle.dumps(embedder))):
        assert twin.id == embedder.id


def test_a_handle_opens_once_and_its_copies_open_their_own() -> None:
    opened: list[int] = []
    handle = Handle[int]()
    for one in (handle, handle, copy.deepcopy(handle), pickle.loads(pickle.dumps(handle))):
        one.get(lambda: opened.append(len(opened)) or len(opened))
    assert opened == [0, 1, 2]


def test_a_handle_that_could_not_open_tries_again() -> None:
    handle = Handle[str]()
    with pytest.raises(BadInput):
        handle.get(_failing)
    assert handle.get(lambda: "open") == "open"


def _failing() -> str:
    raise BadInput("not today")
