"""What a count looks like: per part, always summing to its total."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenwise_core.usage.components import CountSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number of tokens and how it is known."""

    tokens: int
    source: CountSource


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCount:
    """Tokens of one message by part; *overhead* is its role and the marks around it."""

    text: int = 0
    tool_calls: int = 0
    name: int = 0
    reasoning: int = 0
    media: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        return self.text + self.tool_calls + self.name + self.reasoning + self.media + self.overhead


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What calibration learns from: the total before any correction, and whether tools were offered."""

    estimate: int
    tools: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCount:
    """Tokens of a prompt: per message (in order), per tool (in order), schema, and what stands around them.

    *tools_overhead* are the marks around the tool definitions, *overhead* those around the whole prompt. *basis* is
    None where the count needs no calibration.
    """

    messages: tuple[MessageCount, ...] = ()
    tools: tuple[int, ...] = ()
    tools_overhead: int = 0
    schema: int = 0
    overhead: int = 0
    source: CountSource = CountSource.ESTIMATED
    basis: Basis | None = field(default=None, compare=False)

    @property
    def total(self) -> int:
        return (
            sum(message.total for message in self.messages)
            + sum(self.tools)
            + self.tools_overhead
            + self.schema
            + self.overhead
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCount:
    """Tokens of an answer by part, as far as the provider shows it (hidden reasoning is in reported usage only)."""

    response: int = 0
    tool_calls: int = 0
    reasoning: int = 0
    source: CountSource = CountSource.ESTIMATED

    @property
    def total(self) -> int:
        return self.response + self.tool_calls + self.reasoning
