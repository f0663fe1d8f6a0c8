"""One request's way through the cache: asked, perhaps answered, else to be completed with the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tokenwise_core.cache.entry import CachedAnswer, Vector
from tokenwise_core.cache.exact import Kept
from tokenwise_core.cache.gate import exact_only
from tokenwise_core.cache.key import RequestKey
from tokenwise_core.cache.reading import Reading
from tokenwise_core.cache.request import CacheRequest, Hit
from tokenwise_core.cache.verify import Judgement, Neighbour
from tokenwise_core.scoping import Scope
from tokenwise_core.singleflight import Flight

if TYPE_CHECKING:
    Complete = Callable[["Ticket", CachedAnswer], None]


_NOT_ASKED = "not asked"
STREAM_S = 10.0
"""How long after its beginning an equal call waits for a stream, which ends only when its reader has read it."""


class Ticket:
    """What `SemanticCache.lookup` and `begin` return.

    With a *hit*, serve its answer. Without one, *reason* says why, the caller asks the model and ends the ticket with
    `complete` or `abandon`; one that is forgotten, or left as a context manager, is abandoned. Ending twice is
    harmless.
    """

    __slots__ = (
        "_complete", "_semantic_reason", "asked", "by_hand", "ended", "epochs", "flight", "hit", "judgement", "key",
        "namespace", "neighbours", "owner", "reason", "request", "spent_s", "vector", "without_embedder", "would_be",
    )  # fmt: skip

    def __init__(
        self,
        request: CacheRequest,
        *,
        namespace: str | None,
        owner: Scope,
        complete: Complete,
        reason: str | None = None,
    ) -> None:
        self.request, self.namespace, self.owner, self._complete = request, namespace, owner, complete
        self.reason = reason
        self.key: RequestKey | None = None
        self.hit: Hit | None = None
        self._semantic_reason: str | None = _NOT_ASKED
        self.without_embedder: str | None = None
        self.flight: Flight[Kept] | None = None
        self.vector: Vector | None = None
        self.asked: Reading | None = None
        self.neighbours: tuple[Neighbour, ...] = ()
        self.judgement: Judgement | None = None
        self.would_be: Hit | None = None
        self.epochs: Mapping[str, int] = {}
        self.ended = self.by_hand = False
        self.spent_s = 0.0  # of the deadline

    def is_judged_like(self, kept: Kept) -> bool:
        """Say whether what was judged for a rephrased question holds for this one: not stricter, with equal vetoes."""
        request = self.request
        return request.max_error is None and self.semantic_reason is None and kept.judged_as == request.category

    @property
    def semantic_reason(self) -> str | None:
        """Why a rephrased question must not hit here, None where it may; told when it is first asked for."""
        if self._semantic_reason == _NOT_ASKED and self.key is not None:
            self._semantic_reason = exact_only(self.request, self.key.query) or self.without_embedder
        return self._semantic_reason

    @semantic_reason.setter
    def semantic_reason(self, reason: str | None) -> None:
        self._semantic_reason = reason

    def complete(self, answer: CachedAnswer) -> None:
        """Hand over the model's answer: it is stored behind, and given to those who wait for an equal call."""
        if not self.ended:
            self.ended = True
            self._complete(self, answer)
        self._let_go()

    def is_streamed(self) -> None:
        """Say that the answer will be read as a stream: equal calls wait for its reader a while only."""
        if self.flight is not None:
            self.flight.depends_on_a_reader(STREAM_S)

    def abandon(self) -> None:
        """Say that no answer will come: who waits for an equal call goes on without."""
        self.ended = True
        self._let_go()

    def _let_go(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.fail()  # does nothing where the flight was finished with the answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended:
            self.abandon()

    def __del__(self) -> None:
        if self.flight is not None:  # led a call and was forgotten: nobody must wait for it
            self._let_go()
