"""The bundled workload: a support desk's handbook, tools and conversations, shipped as plain files beside this one.

It is frozen: pages, tools and turns may be added, never removed or softened (a test holds their hashes).
"""

from __future__ import annotations

from tokenwise_core.demo.workload.loader import load_workload
from tokenwise_core.demo.workload.values import (
    Conversation,
    Document,
    Evidence,
    EvidenceKind,
    RecordedCall,
    Style,
    Turn,
    TurnKind,
    Workload,
    normalised,
    says,
)

__all__ = [
    "Conversation",
    "Document",
    "Evidence",
    "EvidenceKind",
    "RecordedCall",
    "Style",
    "Turn",
    "TurnKind",
    "Workload",
    "load_workload",
    "normalised",
    "says",
]
