"""Histograms that merge by concatenation: logarithmic buckets, so that any quantile is right within one percent.

The buckets are those of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019) with a relative error of 1 %. Several
metrics share one text column: eight base64 characters an entry (metric and bucket, count). Joining two texts merges
them, entries with a negative count subtract, and metrics that this release does not know are carried along.
"""

from __future__ import annotations

import math
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from struct import Struct

import numpy as np

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SCALE = 1 / math.log(_GAMMA)
_METRIC_BITS = 13
_BUCKETS = 1 << _METRIC_BITS
_ENTRY = Struct("<Hi")
_DTYPE = np.dtype([("bucket", "<u2"), ("n", "<i4")])
_LARGEST = 2**31 - 1
COMPACT_ABOVE = 8_192
"""Characters above which a stored text is worth compacting (about 250 calls with four metrics)."""


class Metric(IntEnum):
    """What is measured, with its unit. The numbers are stored: never reuse one."""

    LATENCY_US = 0
    TTFT_US = 1
    COST_NANO = 2
    TOKENS = 3


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often each bucket was hit."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """Return the value below which a share *q* lies (nearest rank), None when nothing was measured."""
        rank = math.ceil(q * self.n)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0 and self.counts[bucket] > 0:
                return _value(bucket)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        merged = dict(self.counts)
        for bucket, n in other.counts.items():
            merged[bucket] = merged.get(bucket, 0) + n
        return Histogram(merged)


def entry(metric: Metric, value: float) -> str:
    """Return one measurement as text ("" for a value that is no number ≥ 0)."""
    if value >= 1:
        bucket = math.ceil(math.log(value) * _SCALE) + 1 if value < math.inf else _BUCKETS
    elif value >= 0:
        bucket = 0
    else:
        return ""
    return _encode(metric << _METRIC_BITS | (bucket if bucket < _BUCKETS else _BUCKETS - 1), 1)


class Measurements(Mapping[int, Histogram]):
    """The histogram of each metric in *text* (keys are numbers of `Metric`), decoded when first looked at.

    A report holds those of every hour, and shows those of a few groups.
    """

    __slots__ = ("_decoded", "text")

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._decoded: dict[int, Histogram] | None = None

    @classmethod
    def joined(cls, parts: Iterable[Measurements]) -> Measurements:
        """Return the measurements of all *parts*."""
        return cls("".join([part.text for part in parts]))

    def _histograms(self) -> dict[int, Histogram]:
        if self._decoded is None:
            self._decoded = decode(self.text)
        return self._decoded

    def __getitem__(self, metric: int) -> Histogram:
        return self._histograms()[metric]

    def __iter__(self) -> Iterator[int]:
        return iter(self._histograms())

    def __len__(self) -> int:
        return len(self._histograms())

    def __repr__(self) -> str:
        return f"Measurements({self._histograms()!r})"


def decode(text: str) -> dict[int, Histogram]:
    """Return the histogram of each metric in *text* (keys are numbers of `Metric`)."""
    by_metric: dict[int, dict[int, int]] = {}
    for code, n in _merged(text).items():
        by_metric.setdefault(code >> _METRIC_BITS, {})[code & _BUCKETS - 1] = n
    return {metric: Histogram(counts) for metric, counts in by_metric.items()}


def compact(text: str) -> str:
    """Return an equal text with one entry a bucket."""
    return "".join(_parts(_merged(text)))


def negate(text: str) -> str:
    """Return the text that takes *text* away again when joined to it."""
    return "".join(_parts({code: -n for code, n in _merged(text).items()}))


def _value(bucket: int) -> float:
    """Return the value in the bucket from which no other value there differs by more than the relative error."""
    return 0.0 if bucket == 0 else 2 * _GAMMA ** (bucket - 1) / (_GAMMA + 1)


def _parts(counts: Mapping[int, int]) -> Iterable[str]:
    for code, n in counts.items():
        whole, rest = divmod(abs(n), _LARGEST)
        sign = 1 if n > 0 else -1
        yield from (_encode(code, sign * _LARGEST) for _ in range(whole))
        if rest:
            yield _encode(code, sign * rest)


def _merged(text: str) -> dict[int, int]:
    entries = np.frombuffer(a2b_base64(text), dtype=_DTYPE)
    if not len(entries):
        return {}
    sums = np.bincount(entries["bucket"], weights=entries["n"])  # whole numbers, exact in floats up to 2**53
    codes = np.flatnonzero(sums)
    return dict(zip(codes.tolist(), sums[codes].astype(np.int64).tolist(), strict=True))


@lru_cache(maxsize=16_384)
def _encode(code: int, n: int) -> str:
    return b2a_base64(_ENTRY.pack(code, n), newline=False).decode()
