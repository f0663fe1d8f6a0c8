"""Usage that a provider left out, completed by our own count and marked as such."""

from __future__ import annotations

from dataclasses import replace

from tokenwise_core.tokens import AnswerCount, PromptCount
from tokenwise_core.usage.components import CountSource, worst_source
from tokenwise_core.usage.events import Usage


def completed(reported: Usage | None, prompt: PromptCount, answer: AnswerCount, *, certain: bool = True) -> Usage:
    """Return *reported* with the totals that it lacks taken from our counts; the whole is then no longer `reported`.

    An answer that is not *certain* (broken off, or thought about in secret) may have been billed for more than we can
    see: an output that has to be counted from it is `estimated`.
    """
    usage = reported or Usage()
    sources = [prompt.source, CountSource.EXACT]
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return usage
    if usage.input_tokens is None:
        others = usage.input_sum - (usage.input_uncached or 0)
        total = max(prompt.total, others)
        usage = replace(usage, input_tokens=total, input_uncached=total - others)
    if usage.output_tokens is None:
        text = answer.response + answer.tool_calls
        usage = replace(usage, output_tokens=answer.total, output_text=text, reasoning=answer.reasoning)
        if not certain:
            sources.append(CountSource.ESTIMATED)
    return replace(usage, source=worst_source(sources))


NOTHING_USED = Usage(input_tokens=0, output_tokens=0)
"""A call that never reached a model: refused, or answered from a cache."""
