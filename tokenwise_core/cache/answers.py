"""Whether two answers say the same: labels and numbers, JSON, prose, tool calls.

What the cache learns from: a miss tells whether a stored neighbour's answer would have been right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.reading import read

Vectors = NDArray[np.float32]
Kind = Literal["empty", "short", "json", "prose", "tools"]

SHORT_WORDS = 4
"""An answer of so many words or fewer, in one line and no sentence, is a label: nothing like it is equal to it."""
SAME_COSINE, OTHER_COSINE = 0.87, 0.75
"""Prose is the same from the first on and another below the second; between them nobody can tell.

Of all-MiniLM-L6-v2: of phrasings of one statement 97 % lie above .87, of other statements in the same manner none in a
thousand above .78 (measured on the sentences of `benchmarks/cache_prose.py`).
"""
_VOLATILE = frozenset({"id", "tool_call_id", "call_id", "created", "usage", "usage_metadata", "response_metadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSignature:
    """What of an answer is compared with another's; holds no text, only digests and a coarse vector.

    *digest* is of the normalised whole; of prose there are also the digests of its *numbers*, *names*, *code* and of
    what it *negates*, and its embedding as base64 of int8 (*vector*; None: there was no embedder).
    """

    kind: Kind
    digest: str
    numbers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    code: str = ""
    negates: tuple[str, ...] = ()
    vector: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `from_json` reads; what is empty is left out."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AnswerSignature:
        """Read what `to_json` wrote; fields of another version are ignored."""
        return cls(
            kind=data["kind"],
            digest=data["digest"],
            numbers=tuple(data.get("numbers", ())),
            names=tuple(data.get("names", ())),
            code=data.get("code", ""),
            negates=tuple(data.get("negates", ())),
            vector=data.get("vector"),
        )


def signature(answer: CachedAnswer, embed: Callable[[Sequence[str]], Vectors] | None) -> AnswerSignature:
    """Return what of *answer* is compared with others; *embed* is called for prose only."""
    if answer.tool_calls:
        return AnswerSignature(kind="tools", digest=_digest(_canonical([answer.text, _stable(answer.payload)])))
    text = answer.text.strip()
    if not text:
        return AnswerSignature(kind="empty", digest=_digest(_canonical(_stable(answer.payload))))
    structured = _parsed(text)
    if structured is not None:
        return AnswerSignature(kind="json", digest=_digest(_canonical(structured)))
    if _is_short(text):
        return AnswerSignature(kind="short", digest=_digest(_number(text) or _normal(text)))
    return _prose(text, embed)


def same_answer(a: AnswerSignature, b: AnswerSignature) -> bool | None:
    """Say whether two answers are the same; None where that cannot be told.

    Only prose is ever the same without being equal: it takes equal numbers and code, no two names in each other's
    place, the same words negated, and a cosine of `SAME_COSINE`.
    """
    if a.digest == b.digest:
        return a.kind == b.kind
    if a.kind != b.kind:
        return None if {a.kind, b.kind} == {"short", "prose"} else False
    if a.kind != "prose" or a.numbers != b.numbers or a.code != b.code:
        return False
    mine, theirs = set(a.names), set(b.names)
    if mine - theirs and theirs - mine:
        return False
    if a.vector is None or b.vector is None:
        return None
    cosine = _cosine(a.vector, b.vector)
    if cosine < OTHER_COSINE:
        return False
    return True if cosine >= SAME_COSINE and a.negates == b.negates else None


def _prose(text: str, embed: Callable[[Sequence[str]], Vectors] | None) -> AnswerSignature:
    said = read(_IF_NOT.sub("", text))
    vector = None if embed is None else np.asarray(embed([text])[0], dtype=np.float32)
    return AnswerSignature(
        kind="prose",
        digest=_digest(_normal(text)),
        numbers=_digests(said.numbers | said.identifiers),
        names=_digests(said.entities),
        code=_digest("\0".join(part.strip() for part in _FENCED.findall(text))) if "```" in text else "",
        negates=_digests(frozenset(said.negations) - {""}),
        vector=None if vector is None else _packed(vector),
    )


_IF_NOT = re.compile(r"\b(?:if not|or not|why not|not only)\b,?", re.IGNORECASE)
"""Turns of phrase whose "not" denies nothing."""
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"[.!?…。！？]\s+\S|[,;:]\s|\n")  # full-width marks end sentences too
_EDGES = " \t\r\n.!?…。！？,;:\"'`*_“”‘’«»()[]"
_BLANKS = re.compile(r"\s+")


def _is_short(text: str) -> bool:
    return len(text) <= 80 and len(text.split()) <= SHORT_WORDS and _SENTENCE.search(text) is None


def _normal(text: str) -> str:
    """Return *text* without what makes no difference: case, blanks, the marks around it, the form of characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _BLANKS.sub(" ", folded).strip(_EDGES)


def _number(text: str) -> str | None:
    """Return one form for a number: "1,000.50" is "1000.5"."""
    try:
        value = Decimal(text.strip(_EDGES).replace(",", ""))
    except InvalidOperation:
        return None
    return f"{value.normalize():f}" if value.is_finite() else None


def _parsed(text: str) -> Any | None:
    """Return the JSON object or list that *text* is, fenced or not."""
    inner = text
    if text.startswith("```") and text.endswith("```"):
        inner = text.strip("`").removeprefix("json").strip()
    if not inner or inner[0] not in "{[" or inner[-1] not in "}]":
        return None
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        return None


def _stable(value: Any) -> Any:
    """Return a payload without what differs between two equal answers (ids, usage)."""
    if isinstance(value, Mapping):
        return {key: _stable(inner) for key, inner in value.items() if key not in _VOLATILE}
    return [_stable(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _digests(words: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(_digest(word)[:8] for word in words))


def _packed(vector: Vectors) -> str:
    """Return a unit vector as int8, scaled to its largest part: cosines keep two digits."""
    top = float(np.abs(vector).max()) or 1.0
    return base64.b64encode(np.round(vector * (127 / top)).astype(np.int8).tobytes()).decode("ascii")


@lru_cache(maxsize=4096)
def _unpacked(packed: str) -> Vectors:
    vector = np.frombuffer(base64.b64decode(packed), dtype=np.int8).astype(np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _cosine(a: str, b: str) -> float:
    one, other = _unpacked(a), _unpacked(b)
    return float(one @ other) if one.shape == other.shape else 0.0
