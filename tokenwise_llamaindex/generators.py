"""Finds the generator whose code is running: some, handed out by a span, call the model when first advanced."""

from __future__ import annotations

import inspect
from functools import partial
from types import FrameType
from typing import Any
from weakref import ref

from tokenwise_llamaindex.listener import Listener


class Generators:
    """The generators that spans returned, while they exist: whose frame is on the stack is being advanced."""

    def __init__(self) -> None:
        self.by_frame: dict[int, tuple[ref[Any], tuple[Listener, ...]]] = {}

    def add(self, generator: object, route: tuple[Listener, ...]) -> None:
        """Remember who is to hear of what *generator* begins."""
        frame = _frame(generator)
        if frame is not None:
            key = id(frame)
            self.by_frame[key] = (ref(generator, partial(self._gone, key)), route)

    def _gone(self, key: int, generator: ref[Any]) -> None:
        found = self.by_frame.get(key)
        if found is not None and found[0] is generator:  # a finished one's frame may have a successor at its address
            self.by_frame.pop(key, None)

    def remove(self, listener: Listener) -> None:
        """Bring nothing to *listener* any more."""
        for key, (generator, route) in tuple(self.by_frame.items()):
            if listener in route:
                self.by_frame[key] = (generator, tuple(other for other in route if other is not listener))

    def advanced(self) -> tuple[Listener, ...]:
        """Return who hears of the generator that is being advanced here, if one is."""
        frame = inspect.currentframe()
        while frame is not None:
            found = self.by_frame.get(id(frame))
            if found is not None and _frame(found[0]()) is frame:
                return found[1]
            frame = frame.f_back
        return ()


def _frame(generator: object) -> FrameType | None:
    return getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
