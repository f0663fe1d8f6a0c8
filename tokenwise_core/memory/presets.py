"""The settings of the seeds' memories, as far as they are settings of ours: `Memory(**seed_preset("S1-18"))`.

| seed | its numbers | here | as measured on LoCoMo |
|---|---|---|---|
| S1-14, -18 | 4,000 tokens; from 10 turns on the older are summarised, then by importance, then a window | `Hybrid` | |
| S1-15 | 4,000 tokens, at least the last 2 messages | `Window` | moved each turn it costs 1.4 to 4.5 × everything |
| S1-16 | 4,000 tokens, the least important first | `Importance` | keeps 10.5 % of the evidence: as a random choice |
| S1-17 | 4,000 tokens, 60 % for the newest | `Summary` | a block summary costs less |
| S2-03 | 2,000 tokens, down to .8 of them, .3 for the summary | `Summary` | |
| S2-11 | near repeats go | `Dedupe` | changes nothing in chats, loses nothing |
| S4-03 | 100,000 tokens, filled by priority | `Priority` | |
| S4-04 | decisions, rationale and key code stay | `Priority` | as importance |
| S4-11 | kept with a probability of .8 ^ age | `Decay` | harmful: age says little of what will be asked for |

Measured: `research/memory_context.md` §4 (a) and (e); a tenth of the tokens, evidence = turns that answer a question.
Recall brings back what these leave out, and stays on (86 % of the evidence at a tenth of the tokens).

*Limits.* The seeds' limits are met at each turn, whatever that costs. Here they are the soft limit: above it a cut is
made when it pays. `Memory(**seed_preset("S1-15"), max_tokens=4_000)` makes it a hard one.

*Not taken over.* Chance (S4-11), summaries of ten words of a set (S1-17) or of three beginnings (S2-03), a newest
message that is summarised away when it is long (S1-17), indices that get mixed up on ties (S1-16).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tokenwise_core.errors import BadInput
from tokenwise_core.memory.strategies import Decay, Dedupe, Hybrid, Importance, Priority, Summary, Window

_HYBRID = {"strategy": Hybrid(after_turns=10, recent_share=0.6), "target_tokens": 4_000}
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "S1-14": MappingProxyType(_HYBRID),
        "S1-15": MappingProxyType({"strategy": Window(keep_messages=2), "target_tokens": 4_000}),
        "S1-16": MappingProxyType({"strategy": Importance(), "target_tokens": 4_000}),
        "S1-17": MappingProxyType({"strategy": Summary(recent_share=0.6), "target_tokens": 4_000}),
        "S1-18": MappingProxyType(_HYBRID),
        "S2-03": MappingProxyType(
            {"strategy": Summary(recent_share=0.8 - 0.3, summary_tokens=600), "target_tokens": 2_000}
        ),
        "S2-11": MappingProxyType({"strategy": Dedupe()}),
        "S4-03": MappingProxyType({"strategy": Priority(), "target_tokens": 100_000}),
        "S4-04": MappingProxyType({"strategy": Priority()}),
        "S4-11": MappingProxyType({"strategy": Decay(rate=0.8)}),
    }
)
"""Options of `Memory` by row of `research/seed_inventory.md`."""


def seed_preset(row: str) -> dict[str, Any]:
    """Return the options of a seed's memory ("S1-14", "S2-03", …).

    >>> Memory(**seed_preset("S1-17"), sessions="sqlite:///sessions.sqlite")
    """
    if row not in PRESETS:
        raise BadInput(f"no preset {row!r}: there are {', '.join(PRESETS)}")
    return dict(PRESETS[row])
