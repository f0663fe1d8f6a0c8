"""A prompt whose parts are known because the benchmark put them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import UsageEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What a handler made of a call, and the tokens of each piece that went into its prompt.

    *truth* comes from how the prompt was built; the marks around messages are in neither side's pieces.
    """

    event: UsageEvent
    truth: Mapping[Component, int]
