"""Copies and pickles of what holds locks and conversations: the settings go on, what is open is opened anew."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Self


class Reopened:
    """Makes what `_begin` makes anew in each copy, and wherever a pickle is loaded.

    *opened* are the attributes that `_begin` makes. A deep copy shares the memory and the summariser: what is in the
    making, and known of conversations, stays one, and a model's client can seldom be copied.
    """

    opened: ClassVar[frozenset[str]]
    shared: ClassVar[frozenset[str]] = frozenset({"memory", "_summarizer"})

    def _begin(self) -> None:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        state = self.__getstate__()
        memo.update({id(state[name]): state[name] for name in self.shared if name in state})
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__setstate__(deepcopy(state, memo))
        return other
