"""What was seen of a conversation that LlamaIndex hands over anew with each call: its messages are projected once."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, TextBlock

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
        known = self._known(messages)
        if known == len(messages) == len(self._views):
            return self._views
        taken = list(map(snapshots.of_message, messages[known:]))
        self._views = [*self._views[:known], *(to_message(one, at) for at, one in enumerate(taken, known))]
        self._snapshots = [*self._snapshots[:known], *taken]
        return self._views

    def _known(self, messages: Sequence[ChatMessage]) -> int:
        """Return how many of the first messages say what those said that were seen last."""
        pairs = zip(messages, self._snapshots, strict=False)
        changed = (at for at, (message, seen) in enumerate(pairs) if not _says(message, seen))
        return next(changed, min(len(messages), len(self._snapshots)))


def _says(message: ChatMessage, seen: Snapshot) -> bool:
    """Say whether *message* says what was *seen*; where it is one text, as nearly all are, nothing is copied for it."""
    fields = message.__dict__
    blocks = fields["blocks"]
    if len(blocks) != 1 or fields["additional_kwargs"] or type(message) is not ChatMessage:
        return snapshots.of_message(message) == seen
    block = blocks[0]
    if type(block) is not TextBlock:
        return snapshots.of_message(message) == seen
    role, said, extra = seen
    return bool(role == fields["role"] and len(said) == 1 and said[0] == block.__dict__["text"] and not extra)
