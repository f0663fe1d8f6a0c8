"""What `RunnableWithMessageHistory` is about when it reads a history: what is asked, and which turn asks.

It reads `messages` before a turn and again after it, and takes the difference in length for the turn's input: where
another turn of the session ended meanwhile, questions are lost or stored twice. Neither call says which turn it is for,
so this is read from the frames of the two, as they are; where they are not found, the history is read like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

_BEFORE = frozenset({"_enter_history", "_aenter_history"})
_AFTER = frozenset({"_exit_history", "_aexit_history"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a history: *question* is what the turn will add; *sent* is what it was given, once it is over."""

    question: Sequence[BaseMessage] = ()
    sent: Sequence[BaseMessage] | None = None


def reading() -> Reading:
    """Return what the caller's caller reads a history for."""
    frame = sys._getframe(2)  # noqa: SLF001  the interface names no turn
    name, known = frame.f_code.co_name, frame.f_locals
    if name in _AFTER:
        return Reading(sent=known.get("input_messages"))
    if name in _BEFORE:
        return Reading(question=_question(known.get("self"), known.get("value")))
    return Reading()


def _question(runnable: Any, value: Any) -> Sequence[BaseMessage]:
    with suppress(Exception):  # whatever it is, it is asked without being known
        key = runnable.input_messages_key
        asked: list[BaseMessage] = runnable._get_input_messages(value[key] if key else value)  # noqa: SLF001
        return asked
    return ()
