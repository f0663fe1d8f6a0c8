"""What a strategy decides on, and what it decides: the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenwise_core.flow import Flow
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.economics import Rates
from tokenwise_core.memory.plan import Plan, Swap
from tokenwise_core.memory.prefix import compare
from tokenwise_core.memory.swaps import swap
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.memory.view import Block, View, planned
from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText
from tokenwise_core.usage.prompt_cache import PrefixReport

_TOOLS = ToolResults()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Tokens of the whole context, what stands before the conversation included.

    *target* is soft: above it a strategy looks for a cut that pays. *max_tokens* is hard: the context must fit, even
    where that costs more; None where only the model's window bounds it.
    """

    target: int
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One request to come.

    *fixed* are the tokens before the conversation that are the same each time (system prompt, tools). *ready* holds
    the finished summaries by their block's key, *failed* is how often the awaited one failed. *waits* asks for them
    before the request. *reuses_prefix* says that the summariser is the application's own model, which reads the
    conversation as last sent from its cache; *summariser_price* is the price of its input in that of the model's.
    *has_model* is False where no model makes summaries. *idle* says that the provider's cache has surely gone cold
    since the last request. *scale* corrects our counts by the provider's last report. *tools* says how tools' results
    are kept short, None where they are not; *offers_recall* that the model has a tool for the whole of them.
    """

    conversation: Conversation
    view: View
    limits: Limits
    count: CountText
    fixed: int = 0
    rates: Rates = field(default_factory=Rates)
    ready: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_model: bool = True
    waits: bool = False
    reuses_prefix: bool = True
    summariser_price: float = 1.0
    failed: int = 0
    idle: bool = False
    scale: float = 1.0
    is_pinned: Callable[[Message], bool] | None = None
    tools: ToolResults | None = None
    offers_recall: bool = False
    model: str | None = None
    provider: str | None = None

    def plan(self, view: View) -> Plan:
        """Return what *view* shows."""
        return planned(view, self.conversation, swap=self.swap)

    def swap(self, position: int, kind: str) -> Swap:
        """Return what stands in the place of the tool's result at *position*."""
        return swap(
            self.conversation,
            position,
            kind,
            count=self.count,
            tools=self.tools or _TOOLS,
            offers_recall=self.offers_recall,
        )

    def total(self, plan: Plan) -> int:
        """Return the tokens of the whole context, by the provider's count where that is known."""
        return round((self.fixed + plan.tokens) * self.scale)

    def compared(self, plan: Plan) -> PrefixReport:
        """Return how *plan* compares with what was last sent."""
        if self.is_out_of_reach:
            return PrefixReport(stable_tokens=self._marked, total_tokens=self.fixed + plan.tokens)
        last = () if self.idle else self.view.last
        return compare(last, plan.parts, self.conversation.tokens, total=self.fixed + plan.tokens, fixed=self.fixed)

    def cost(self, plan: Plan) -> float:
        """Return what it costs to send *plan* now."""
        report = self.compared(plan)
        return self.rates.request(report.total_tokens, report.stable_tokens)

    @property
    def full(self) -> int:
        """Tokens of the context if everything were sent."""
        return self.fixed + self.conversation.total

    @property
    def everything(self) -> float:
        """What it would cost to send everything now, had that been done before too.

        What has been said since is new, and all from the first message on that was rewritten.
        """
        if self.idle or not self.view.last:
            return self.rates.request(self.full, 0)
        if self.is_out_of_reach:
            return self.rates.request(self.full, self._marked)
        same = self.fixed + self.conversation.tokens(0, self.view.length)
        return self.rates.request(self.full, min(self.view.account.full, same))

    @property
    def is_out_of_reach(self) -> bool:
        """Say whether the provider still holds what was last sent, but too far before the new mark to be found."""
        reach = self.rates.lookback_blocks
        if reach is None or self.idle or not self.view.last:
            return False
        return self.conversation.blocks(self.view.length) > reach

    @property
    def _marked(self) -> int:
        """Tokens behind which a mark of their own stands."""
        return self.fixed if self.rates.breakpoints > 1 else 0

    @property
    def growth(self) -> float:
        """Tokens that a request adds to the conversation, on the average so far."""
        return self.conversation.total / max(self.view.account.requests, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """What a strategy decided: the *view* from now on, and the block whose summary is to be begun.

    *reason* says why the view is another one ("" where it is not), *notes* what the user should know.
    """

    view: View
    begin: Block | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()


class Strategy(Protocol):
    """What is kept, what is left out, what is put in its place.

    Every cut falls between units; system, pinned and the last user message stay.
    """

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Decide for one request; yields what a model must be asked at once, if anything."""
        ...

    def summary(self, situation: Situation, block: Block) -> Flow[Mapping[str, Any] | None]:
        """Return the making of the summary of a block that `arrange` began; None for one that failed.

        What it needs of the conversation is taken at once: it is driven later, in another thread.
        """
        ...
