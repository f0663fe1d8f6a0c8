"""What an open model is kept in: safe over threads, dropped and opened anew over fork, pickle and deepcopy."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Guard:
    """A lock for each process: one that a fork copied while it was held would never be released in the child."""

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}

    def __enter__(self) -> None:
        self._locks.setdefault(os.getpid(), Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()

    def __reduce__(self) -> tuple[type[Guard], tuple[()]]:
        return Guard, ()


class Handle(Generic[T]):
    """Holds what was opened at the first use. A copy, and a forked child, hold nothing until they open their own."""

    def __init__(self) -> None:
        self._held: T | None = None
        self._opened_in = 0
        self._guard = Guard()

    def get(self, opened: Callable[[], T]) -> T:
        """Return what is held, or what *opened* returns; one caller opens, others wait."""
        with self._guard:
            if self._held is None or self._opened_in != os.getpid():
                self._held, self._opened_in = opened(), os.getpid()
            return self._held

    def __reduce__(self) -> tuple[type[Handle[Any]], tuple[()]]:
        return Handle, ()
