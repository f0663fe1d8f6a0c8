"""What a cache keeps: an answer, the entry around it, and the light rows that a lookup compares with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.scoping import Scope
from tokenwise_core.usage.events import Usage

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """A model's answer, framework-free: its *text*, and the *payload* from which the adapter builds its own object.

    *payload* is JSON: objects, lists, strings, finite numbers, booleans, None. *usage* is what the call that made the
    answer was billed, so what each hit saves. *complete* is False for a broken-off stream or a truncated answer. *tags*
    are what the answer turned out to depend on (the documents it was made from, known only after retrieval): the entry
    stands under them and those of the request; they are kept with the entry, not in the answer.
    """

    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    provider: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    tool_calls: bool = False
    refusal: bool = False
    complete: bool = True
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer under its exact key and, where a rephrased question may find it, its semantic partition.

    *key* and *partition* are 16 bytes; *vector* is a unit vector and there exactly when *partition* and *query* are.
    *reading* (`reading.Reading.to_json`) and *signature* (`answers.AnswerSignature.to_json`) are JSON. *epochs* holds,
    for each of *tags*, its epoch when the entry was made: a tag whose epoch has moved on invalidates the entry. Times
    are seconds since the epoch; *expires_at* None is never. *cost_nano* is what one hit saves, None where the model
    has no price. *seq* is given by the store, rising in the order of insertion.
    """

    key: bytes
    namespace: str
    answer: CachedAnswer
    created_at: float
    seq: int | None = None
    partition: bytes | None = None
    query: str | None = None
    vector: Vector | None = None
    reading: Mapping[str, Any] | None = None
    signature: Mapping[str, Any] | None = None
    category: str | None = None
    expires_at: float | None = None
    tags: tuple[str, ...] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    owner: Scope = field(default_factory=Scope)
    capability: float | None = None
    cost_nano: int | None = None
    hits: int = 0
    right: int = 0
    wrong: int = 0


class StoredAnswer(NamedTuple):
    """What an exact hit needs of a stored entry: no question, no vector, no labels.

    *text* is the JSON object that holds *answer* under that name, readable and redacted: to make it anew from.
    """

    answer: CachedAnswer
    text: str
    created_at: float
    seq: int
    expires_at: float | None
    epochs: Mapping[str, int]
    capability: float | None
    cost_nano: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What verification needs of a stored neighbour, without its answer.

    *right* and *wrong* count the labels that this entry has earned.
    """

    seq: int
    query: str
    reading: Mapping[str, Any]
    signature: Mapping[str, Any]
    created_at: float
    expires_at: float | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)
    capability: float | None = None
    right: int = 0
    wrong: int = 0
    vector: Vector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Whether the answer of a stored neighbour would have been right for a question: what the verifier learns from.

    Holds numbers only (`features` of `verify.judge`), never text: labels of all tenants may be pooled. *embedder* is
    the id of what measured the similarity: cosines of two embedders do not compare.
    """

    features: tuple[float, ...]
    same: bool
    ts: float
    score: float | None = None
    source: str = "miss"
    embedder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRecord:
    """One served answer, kept so that `explain` and `feedback` can speak of it. *kind* is "exact", "semantic", …

    *key* is the exact key of the question that was asked, in hex: where the answer was wrong, that question is not
    served by likeness again. *embedder* is the id of what measured the *features*, as in `Label`: feedback may come
    from a process that has another, or none.
    """

    id: str
    ts: float
    seq: int
    kind: str
    namespace: str
    query: str | None = None
    similarity: float | None = None
    score: float | None = None
    bound: float | None = None
    agreement: float | None = None
    features: tuple[float, ...] = ()
    age_s: float = 0.0
    saved_tokens: int = 0
    saved_nano: int | None = None
    owner: Scope = field(default_factory=Scope)
    embedder: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceTotals:
    """What is stored under one namespace; *bytes* is an estimate of the rows' size."""

    namespace: str
    entries: int = 0
    semantic: int = 0
    bytes: int = 0
    hits: int = 0
    oldest: float | None = None
    newest: float | None = None
