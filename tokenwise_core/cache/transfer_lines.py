"""One line of an exported cache: an entry or a label as versioned JSON, and back through an allow-list."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tokenwise_core.cache.entries.fields import (
    Check,
    answer_from_json,
    answer_to_json,
    checked,
    is_count,
    is_count_by_text,
    is_flag,
    is_number,
    is_numbers,
    is_object,
    is_text,
    is_texts,
    said,
    scope_from_json,
)
from tokenwise_core.cache.entries.rows import stamps
from tokenwise_core.cache.entry import Entry, Label, Vector
from tokenwise_core.cache.key import DIGEST_BYTES
from tokenwise_core.storage.codec import DamagedError

VERSION = 1
_LONGEST = 1 << 53  # whole numbers up to here are the same in every reader of JSON


class BadLineError(Exception):
    """A line that is none of ours; the message says why."""


def _is_natural(value: Any) -> bool:
    return is_count(value) and 0 <= value < _LONGEST


def _is_amount(value: Any) -> bool:
    return is_number(value) and abs(value) < _LONGEST


def _is_nano(value: Any) -> bool:
    return is_count(value) and abs(value) < _LONGEST


ENTRY: Mapping[str, Check] = {
    "key": is_text, "namespace": is_text, "epoch": _is_natural, "created_at": _is_amount, "answer": is_object,
    "partition": is_text, "query": is_text, "vector": is_text, "reading": is_object, "signature": is_object,
    "category": is_text, "expires_at": _is_amount, "tags": is_texts, "epochs": is_count_by_text, "owner": is_object,
    "capability": _is_amount, "cost_nano": _is_nano, "hits": _is_natural, "right": _is_natural, "wrong": _is_natural,
}  # fmt: skip
LABEL: Mapping[str, Check] = {
    "features": is_numbers, "same": is_flag, "ts": _is_amount, "score": _is_amount, "source": is_text,
    "embedder": is_text,
}  # fmt: skip
_PLAIN = ("namespace", "created_at", "query", "reading", "signature", "category", "expires_at", "capability",
          "cost_nano")  # fmt: skip
_COUNTS = ("hits", "right", "wrong")


def entry_line(entry: Entry, *, epoch: int) -> str:
    """Return *entry* as a line; *epoch* is that of its namespace, which its key was made with."""
    data: dict[str, Any] = {
        "key": entry.key.hex(),
        "epoch": epoch,
        "answer": answer_to_json(replace(entry.answer, tags=())),
        **{name: value for name in _PLAIN if (value := getattr(entry, name)) is not None},
        **{name: value for name in _COUNTS if (value := getattr(entry, name))},
    }
    if entry.partition is not None and entry.vector is not None:
        data["partition"] = entry.partition.hex()
        data["vector"] = b64encode(entry.vector.astype("<f4").tobytes()).decode()
    if entry.tags:
        data["tags"] = list(entry.tags)
    if entry.epochs:
        data["epochs"] = dict(entry.epochs)
    if owner := said(entry.owner):
        data["owner"] = owner
    return _line({"v": VERSION, "entry": data})


def label_line(label: Label) -> str:
    """Return *label* as a line."""
    data = {"features": list(label.features), "same": label.same, "ts": label.ts, "source": label.source}
    if label.score is not None:
        data["score"] = label.score
    if label.embedder:
        data["embedder"] = label.embedder
    return _line({"v": VERSION, "label": data})


def read_line(line: str) -> tuple[Entry, int] | Label:
    """Return the entry with its namespace's epoch, or the label; raise `BadLineError`."""
    try:
        data = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadLineError("no JSON") from error
    if type(data) is not dict or type(data.get("v")) is not int:
        raise BadLineError("no line of an exported cache")
    if data["v"] != VERSION:
        raise BadLineError(f"format {data['v']}, this release reads {VERSION}")
    try:
        if "entry" in data:
            return _entry(data["entry"])
        if "label" in data:
            return _label(data["label"])
    except DamagedError as error:
        raise BadLineError(f"damaged: {error}") from error
    except (ValueError, TypeError, Base64Error, OverflowError) as error:
        raise BadLineError(f"damaged: {type(error).__name__}") from error
    raise BadLineError("neither an entry nor a label")


def full_epochs(entry: Entry) -> Mapping[str, int]:
    """Return the epochs that *entry* stands under, by the names of `Entries.epochs`."""
    return stamps(entry)


def _entry(data: Any) -> tuple[Entry, int]:
    found = checked(data, ENTRY, needed=("key", "namespace", "created_at", "answer"))
    semantic = [name in found for name in ("partition", "vector")]
    if any(semantic) and not (all(semantic) and "query" in found):
        raise DamagedError("partition, vector and query go together")
    entry = Entry(
        key=_digest(found["key"]),
        answer=answer_from_json(found["answer"]),
        partition=_digest(found["partition"]) if "partition" in found else None,
        vector=_vector(found["vector"]) if "vector" in found else None,
        tags=tuple(found.get("tags", ())),
        epochs=found.get("epochs", {}),
        owner=scope_from_json(found.get("owner", {})),
        **{name: found[name] for name in (*_PLAIN, *_COUNTS) if name in found},
    )
    return entry, found.get("epoch", 0)


def _label(data: Any) -> Label:
    found = checked(data, LABEL, needed=("features", "same", "ts"))
    return Label(**{**found, "features": tuple(map(float, found["features"]))})


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != DIGEST_BYTES:
        raise DamagedError(f"a key has {DIGEST_BYTES} bytes")
    return digest


def _vector(text: str) -> Vector:
    vector = np.frombuffer(b64decode(text, validate=True), dtype="<f4").astype(np.float32)
    if not vector.size or not np.isfinite(vector).all() or not vector.any():
        raise DamagedError("vector")
    return vector


def _line(data: Mapping[str, Any]) -> str:
    """Return one line: control characters and what could end a line are escaped."""
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
