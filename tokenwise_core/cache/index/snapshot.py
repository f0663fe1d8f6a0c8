"""The file in which a large partition's index outlives the process: checked on reading, never trusted."""

from __future__ import annotations

import json
import os
import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.errors import BadInput

FORMAT = 1
SUFFIX = ".index"
_MAGIC = b"tokenwise index\n"
_NUMBER_BYTES = 4
_MAX_HEADER = 1 << 16
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a snapshot says of itself: it holds the *count* entries that *partition* had up to *last_seq*.

    *clean* is a generation of the store at which none of them had died, None where some may have.
    """

    partition: str
    last_seq: int
    count: int
    dimension: int
    trained_on: int
    clean: int | None


def write(folder: Path, header: Header, data: NDArray[np.uint8]) -> Path:
    """Write a snapshot: into a file beside it first, flushed to the disk, then renamed over the older one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, bytes.fromhex(header.partition))
    text = json.dumps({"format": FORMAT, **asdict(header)}).encode()
    checksum = zlib.crc32(data.data, zlib.crc32(text))
    for left in folder.glob(f"{path.name}.*.tmp"):  # by a process that was killed
        left.unlink(missing_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=f"{path.name}.", suffix=".tmp", delete=False) as file:
        try:
            file.write(_MAGIC + checksum.to_bytes(_NUMBER_BYTES, "big") + len(text).to_bytes(_NUMBER_BYTES, "big"))
            file.write(text)
            file.write(data.data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return path


def read(folder: Path, partition: bytes) -> tuple[Header, NDArray[np.uint8]] | None:
    """Return a partition's snapshot, None where there is none; raises BadInput where it is not whole or not ours."""
    path = path_of(folder, partition)
    try:
        with path.open("rb") as file:
            text, checksum = _begin(file)
            data = np.fromfile(file, dtype=np.uint8)
    except FileNotFoundError:
        return None
    if checksum != zlib.crc32(data.data, zlib.crc32(text)):
        raise BadInput(f"{path.name} is damaged")
    described = json.loads(text)
    if described.pop("format", None) != FORMAT:
        raise BadInput(f"{path.name} has another format than {FORMAT}")
    header = Header(**described)
    if header.partition != partition.hex():
        raise BadInput(f"{path.name} belongs to another partition")
    return header, data


def partitions(folder: Path) -> list[bytes]:
    """Return the partitions that have a snapshot."""
    names = [path.stem for path in folder.glob(f"*{SUFFIX}")]
    return [bytes.fromhex(name) for name in names if _HEX.fullmatch(name)]


def delete(folder: Path, partition: bytes) -> None:
    """Delete a partition's snapshot, if there is one."""
    path_of(folder, partition).unlink(missing_ok=True)


def delete_all(folder: Path) -> None:
    """Delete every snapshot, half-written ones too."""
    for path in [*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{SUFFIX}.*.tmp")]:
        path.unlink(missing_ok=True)


def path_of(folder: Path, partition: bytes) -> Path:
    """Return where a partition's snapshot lies."""
    return folder / f"{partition.hex()}{SUFFIX}"


def _begin(file: IO[bytes]) -> tuple[bytes, int]:
    """Read up to where FAISS's bytes begin: the header's text, and the checksum of it and them."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise BadInput("not a snapshot of tokenwise")
    checksum, length = (int.from_bytes(file.read(_NUMBER_BYTES), "big") for _ in range(2))
    if length > _MAX_HEADER:
        raise BadInput("a snapshot's header is damaged")
    return file.read(length), checksum
