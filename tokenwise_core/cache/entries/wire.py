"""How pgvector's `vector` travels: two 16-bit numbers (the dimension, nothing), then big-endian 32-bit floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import Struct
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenwise_core._optional import require
from tokenwise_core.cache.entries.rows import normalised
from tokenwise_core.cache.entry import Vector

if TYPE_CHECKING:
    import psycopg

_HEAD = Struct("!HH")


class WireVector(bytes):
    """A vector as it is sent; the class tells psycopg which type it has."""


def to_wire(vector: Vector) -> WireVector:
    """Return *vector* as it is sent."""
    return WireVector(_HEAD.pack(len(vector), 0) + vector.astype(">f4").tobytes())


def from_wire(vectors: Sequence[bytes]) -> NDArray[np.float32]:
    """Return unit vectors from what was received, at least one; raise `ValueError` where lengths differ."""
    if len(set(map(len, vectors))) != 1:
        raise ValueError("vectors of several lengths")
    floats = np.frombuffer(b"".join(vectors), dtype=">f4").reshape(len(vectors), -1)
    return normalised(floats[:, 1:].astype(np.float32))  # the head has the size of one float


def register(connection: psycopg.Connection[Any]) -> None:
    """Let *connection* send `WireVector`, and receive vectors as bytes."""
    info = require("psycopg.types", extra="postgres").TypeInfo.fetch(connection, "vector")
    if info is None:
        raise require("psycopg", extra="postgres").ProgrammingError("the extension pgvector is not in the database")
    dumper, loader = _adapters(info.oid)
    connection.adapters.register_dumper(WireVector, dumper)
    connection.adapters.register_loader(info.oid, loader)


@cache
def _adapters(oid: int) -> tuple[type, type]:
    adapt: ModuleType = require("psycopg.adapt", extra="postgres")
    binary = require("psycopg.pq", extra="postgres").Format.BINARY

    class Dumper(adapt.Dumper):  # type: ignore[misc,name-defined]  # known at run time only
        format = binary

        def dump(self, obj: WireVector) -> bytes:
            return obj

    class Loader(adapt.Loader):  # type: ignore[misc,name-defined]
        format = binary

        def load(self, data: Any) -> bytes:
            return bytes(data)

    Dumper.oid = oid
    return Dumper, Loader
