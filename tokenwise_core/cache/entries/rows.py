"""An entry as a row of a store, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entries.fields import (
    BODY,
    QUESTION,
    answer_from_json,
    answer_to_json,
    checked,
    hit_from_json,
    hit_to_json,
    is_count_by_text,
    said,
    scope_from_json,
)
from tokenwise_core.cache.entry import Candidate, Entry, HitRecord, StoredAnswer, Vector
from tokenwise_core.errors import BadInput
from tokenwise_core.storage.codec import Codec, DamagedError, from_json, to_json
from tokenwise_core.storage.names import restored, storable

ROW_BYTES = 250
"""What a row takes beside its texts and its vector: numbers, keys, and its places in the indexes."""
_HALF = np.dtype("<f2")
NEARLY_ONE = 0.9999
"""Cosine from which two vectors are the same one, made twice (batched embedding and half floats move the last bits)."""
_KEY_BYTES = 16
_LEAST_NORM = 1e-6


class Row(NamedTuple):
    """An entry, its texts encoded; in the order of the columns, up to *user* those of `cache_entry`.

    *size* is the estimate in bytes that quotas count. *body* holds the answer and what only a hit needs.
    """

    key: bytes
    namespace: str
    partition: bytes | None
    question: bytes | None
    created_at: float
    expires_at: float | None
    epochs: str | None
    capability: float | None
    cost_nano: int | None
    hits: int
    right: int
    wrong: int
    size: int
    application: str | None
    session: str | None
    user: str | None
    body: bytes
    vector: Vector | None


class LightRow(NamedTuple):
    """What `candidates` reads of a row."""

    seq: int
    question: bytes
    created_at: float
    expires_at: float | None
    epochs: str | None
    capability: float | None
    right: int
    wrong: int


class VectorFormat(NamedTuple):
    """How a database keeps vectors: written one by one, read many at once into unit rows."""

    pack: Callable[[Vector], Any]
    unpack: Callable[[Sequence[Any]], NDArray[np.float32]]


def to_row(entry: Entry, codec: Codec) -> Row:
    """Flatten *entry*; raise `BadInput` where it breaks a law of `Entry`."""
    vector = _unit(entry)
    namespace = storable(entry.namespace)
    question, body = _question(entry, codec), _body(entry, codec)
    epochs = to_json(dict(entry.epochs)).decode() if entry.epochs else None
    size = ROW_BYTES + len(namespace) + len(question or b"") + len(body) + len(epochs or "")
    return Row(
        key=entry.key,
        namespace=namespace,
        partition=entry.partition,
        question=question,
        created_at=float(entry.created_at),
        expires_at=None if entry.expires_at is None else float(entry.expires_at),
        epochs=epochs,
        capability=entry.capability,
        cost_nano=entry.cost_nano,
        hits=entry.hits,
        right=entry.right,
        wrong=entry.wrong,
        size=size + (0 if vector is None else _HALF.itemsize * len(vector)),
        application=_name(entry.owner.application),
        session=_name(entry.owner.session),
        user=_name(entry.owner.user),
        body=body,
        vector=vector,
    )


AnswerRow = tuple[int, float, float | None, str | None, float | None, int | None, bytes]
"""What `answer` reads of a row: seq, when it was made and expires, epochs, capability, cost in nano-dollars, body."""


def to_stored_answer(row: AnswerRow, codec: Codec) -> StoredAnswer:
    """Build what an exact hit needs; raise `DamagedError` or `ForeignError`."""
    seq, created_at, expires_at, epochs, capability, cost_nano, body = row
    text = codec.opened(body)
    answer = answer_from_json(checked(codec.parsed(text), BODY, needed=("answer",))["answer"])
    return StoredAnswer(answer, text, created_at, seq, expires_at, read_epochs(epochs), capability, cost_nano)


def to_entry(seq: int, row: Row, codec: Codec) -> Entry:
    """Build the entry anew; raise `DamagedError` or `ForeignError`."""
    body = checked(codec.read(row.body), BODY, needed=("answer",))
    question = _read_question(row.question, codec) if row.question is not None else {}
    return Entry(
        key=bytes(row.key),
        namespace=restored(row.namespace),
        answer=answer_from_json(body["answer"]),
        created_at=row.created_at,
        seq=seq,
        partition=None if row.partition is None else bytes(row.partition),
        query=question.get("query"),
        vector=row.vector,
        reading=question.get("reading"),
        signature=question.get("signature"),
        category=body.get("category"),
        expires_at=row.expires_at,
        tags=tuple(body.get("tags", ())),
        epochs=read_epochs(row.epochs),
        owner=scope_from_json(body.get("owner", {})),
        capability=row.capability,
        cost_nano=row.cost_nano,
        hits=row.hits,
        right=row.right,
        wrong=row.wrong,
    )


def to_candidate(row: LightRow, vector: Vector | None, codec: Codec) -> Candidate:
    """Build what verification needs; raise `DamagedError` or `ForeignError`."""
    if vector is None:
        raise DamagedError("no vector")
    question = _read_question(row.question, codec)
    return Candidate(
        seq=row.seq,
        query=question["query"],
        reading=question.get("reading", {}),
        signature=question.get("signature", {}),
        created_at=row.created_at,
        expires_at=row.expires_at,
        epochs=read_epochs(row.epochs),
        capability=row.capability,
        right=row.right,
        wrong=row.wrong,
        vector=vector,
    )


def write_hit(hit: HitRecord, codec: Codec) -> bytes:
    """Return *hit* as it is stored."""
    data = hit_to_json(hit)
    if hit.query is not None:
        data["query"] = codec.redacted(hit.query)
    return codec.write(data)


def read_hit(body: bytes, codec: Codec) -> HitRecord:
    """Read what `write_hit` wrote; raise `DamagedError` or `ForeignError`."""
    return hit_from_json(codec.read(body))


def read_epochs(text: str | None) -> Mapping[str, int]:
    """Read the epochs that an entry stands under."""
    return {} if text is None else dict(_epochs(text))  # the caller's own


@lru_cache(maxsize=1024)
def _epochs(text: str) -> Mapping[str, int]:
    """Parse once what many entries share."""
    epochs = from_json(text.encode())
    if not is_count_by_text(epochs):
        raise DamagedError("epochs")
    return dict(epochs)


def stamps(entry: Entry) -> dict[str, int]:
    """Return what invalidates *entry*, by the names of `Entries.epochs`, and the epoch it was made in.

    `Entry.epochs` may name a tag bare or with its prefix; a tag that it says nothing of stands at 0.
    """
    names = {name if name.startswith(("ns:", "tag:")) else f"tag:{name}": n for name, n in entry.epochs.items()}
    return {**{name if name.startswith("tag:") else f"tag:{name}": 0 for name in entry.tags}, **names}


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring rows back to length 1 (half floats keep three digits); raise `ValueError` where one cannot be."""
    if len(vectors) == 1:  # a lookup of one entry: half the time
        length = sqrt(vectors[0].dot(vectors[0]))
        if not _LEAST_NORM < length < inf:
            raise ValueError("a vector is damaged")
        vectors /= length
        return vectors
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not _LEAST_NORM < lengths.min() <= lengths.max() < np.inf:  # also where one is no number
        raise ValueError("a vector is damaged")
    vectors /= lengths[:, None]
    return vectors


def to_half(vector: Vector) -> bytes:
    """Return *vector* as half floats: cosine error below 1e-3 at half the space."""
    return vector.astype(_HALF).tobytes()


def from_half(blobs: Sequence[bytes]) -> NDArray[np.float32]:
    """Return unit vectors from half floats, at least one; raise `ValueError` where lengths differ or one is damaged."""
    if len(set(map(len, blobs))) != 1:
        raise ValueError("vectors of several lengths")
    halves = np.frombuffer(b"".join(blobs), dtype=_HALF).reshape(len(blobs), -1)
    return normalised(halves.astype(np.float32))


def same_direction(one: Vector | None, other: Vector | None) -> bool:
    """Say whether both are absent, or point the same way."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and float(one @ other) >= NEARLY_ONE


def _name(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _unit(entry: Entry) -> Vector | None:
    if len(entry.key) != _KEY_BYTES or (entry.partition is not None and len(entry.partition) != _KEY_BYTES):
        raise BadInput(f"a key and a partition have {_KEY_BYTES} bytes")
    if (entry.vector is None) != (entry.partition is None) or (entry.partition is not None and entry.query is None):
        raise BadInput("a partition, a query and a vector are given together")
    if entry.vector is None:
        return None
    vector = np.array(entry.vector, dtype=np.float32)
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
    if not (np.isfinite(length) and length > _LEAST_NORM):
        raise BadInput("a vector is one row of finite numbers, not all zero")
    return np.asarray(vector / length, dtype=np.float32)


def _question(entry: Entry, codec: Codec) -> bytes | None:
    data: dict[str, Any] = {}
    if entry.query is not None:
        data["query"] = codec.redacted(entry.query)
    if entry.reading is not None:
        data["reading"] = codec.redacted_reading(dict(entry.reading), of=entry.query)
    if entry.signature is not None and codec.redacted(entry.answer.text) == entry.answer.text:
        data["signature"] = dict(entry.signature)  # digests and numbers: one of another text would agree with nothing
    return codec.write(data) if data else None


def _body(entry: Entry, codec: Codec) -> bytes:
    answer = answer_to_json(entry.answer)
    for name in ("text", "payload"):
        if name in answer:
            answer[name] = codec.redacted(answer[name])
    data: dict[str, Any] = {"answer": answer}
    if entry.tags:
        data["tags"] = list(entry.tags)
    if entry.category is not None:
        data["category"] = entry.category
    owner = said(entry.owner)
    if owner:
        data["owner"] = owner
    return codec.write(data)


def _read_question(body: bytes, codec: Codec) -> dict[str, Any]:
    return checked(codec.read(body), QUESTION)
