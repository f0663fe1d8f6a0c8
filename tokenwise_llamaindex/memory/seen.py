"""What was seen of a conversation that LlamaIndex hands over anew with each call: its messages are projected once."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage

from tokenwise_core.messages import Message
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.convert import to_message
from tokenwise_llamaindex.snapshots import Snapshot


class Seen:
    """Snapshots of the messages seen last, and core's views of them.

    LlamaIndex changes messages in place, so they are compared by what they say, not by identity.
    """

    def __init__(self) -> None:
        self._snapshots: list[Snapshot] = []
        self._views: list[Message] = []

    def views(self, messages: Sequence[ChatMessage]) -> list[Message]:
        """Return core's views of *messages*: the same objects as long as they say the same."""
        taken = list(map(snapshots.of_message, messages))
        known = self._known(taken)
        if known == len(taken) == len(self._views):
            return self._views
        new = [to_message(snapshot, at) for at, snapshot in enumerate(taken[known:], known)]
        self._views = [*self._views[:known], *new]
        self._snapshots = taken
        return self._views

    def _known(self, taken: Sequence[Snapshot]) -> int:
        """Return how many of the first messages are the same as those seen last."""
        most = min(len(self._snapshots), len(taken))
        if self._snapshots[:most] == taken[:most]:
            return most
        return next(at for at in range(most) if self._snapshots[at] != taken[at])
