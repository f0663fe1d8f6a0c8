"""How each provider (and LangChain) reports usage: one reader a dialect, all into the exclusive buckets of `Usage`.

| dialect | cached tokens | reasoning | billed beside the totals |
|---|---|---|---|
| chat (1) | in `prompt_tokens` | in `completion_tokens` | what `total_tokens` has on top |
| responses (OpenAI, xAI, Perplexity) | in `input_tokens` | in `output_tokens` | the same |
| anthropic | added to `input_tokens` | in `output_tokens` | `iterations` that the top level leaves out |
| google | in `promptTokenCount` | added to the candidates | `toolUsePromptTokenCount` |
| bedrock | added to `inputTokens` | not reported | nothing |
| cohere, ollama | in the input, if at all | not reported | nothing |
| langchain (`UsageMetadata`) | in `input_tokens` | in `output_tokens` | what `total_tokens` has on top |

(1) OpenAI, Azure, Mistral, Groq, OpenRouter, DeepSeek, xAI, Together, Fireworks, Cerebras, llama.cpp, vLLM and others.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenwise_core.usage.buckets import (
    OWN_MODEL,
    Buckets,
    Side,
    beyond,
    build_usage,
    complete,
    input_parts,
    largest,
    less,
    output_parts,
)
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.fields import Fields

Reader = Callable[[Fields, str], Usage]
"""A usage object and the provider's name in lower case ("" when unknown) in, usage out."""


def read_chat(raw: Fields, provider: str) -> Usage:
    """Read OpenAI's chat dialect and all that speak it; the details are subsets of the two totals."""
    details, out = raw.inner("prompt_tokens_details"), raw.inner("completion_tokens_details")
    total = raw.count("total_tokens")
    prompt, completion = complete(raw.count("prompt_tokens"), raw.count("completion_tokens"), total)
    # Gateways that add Anthropic's two names mean a subset, unless it cannot be one.
    named_read, named_write = raw.count("cache_read_input_tokens"), raw.count("cache_creation_input_tokens")
    if prompt is not None and (named_read or 0) + (named_write or 0) > prompt:
        prompt += (named_read or 0) + (named_write or 0)
    raw.count("prompt_cache_miss_tokens")
    read = largest(
        raw.count("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cached_prompt_text_tokens"),
        details.count("cached_tokens", "cache_read_tokens"),
        named_read,
    )
    reasoning = largest(out.count("reasoning_tokens"), raw.count("reasoning_tokens"))
    side = _perplexity_side(raw, provider) or _thoughts(beyond(prompt, completion, total))
    write = largest(details.count("cache_write_tokens", "cache_creation_tokens"), named_write)
    return build_usage(
        raw,
        prompt=_prompt_with_details(prompt, details, read=read, write=write),
        output=_output_with_details(completion, out, reasoning=_inside(reasoning, side)),
        side=side,
        inner=(("input", details), ("output", out)),
    )


def read_responses(raw: Fields, _provider: str) -> Usage:
    """Read OpenAI's Responses dialect: chat's under other names."""
    details = raw.inner("input_tokens_details", "prompt_tokens_details")
    out = raw.inner("output_tokens_details", "completion_tokens_details")
    total = raw.count("total_tokens")
    prompt, completion = complete(raw.count("input_tokens"), raw.count("output_tokens"), total)
    side = _thoughts(beyond(prompt, completion, total))
    read = largest(details.count("cached_tokens", "cache_read_input_tokens"), raw.count("cached_tokens"))
    write = details.count("cache_write_tokens", "cache_creation_input_tokens")
    reasoning = out.count("reasoning_tokens", "thinking_tokens")
    return build_usage(
        raw,
        prompt=_prompt_with_details(prompt, details, read=read, write=write),
        output=_output_with_details(completion, out, reasoning=_inside(reasoning, side)),
        side=side,
        inner=(("input", details), ("output", out)),
    )


def _prompt_with_details(prompt: int | None, details: Fields, *, read: int | None, write: int | None) -> Buckets:
    cached = details.inner("cached_tokens_details")
    details.count("text_tokens")
    return input_parts(
        prompt,
        read=read,
        write_5m=write,
        audio=less(details.count("audio_tokens"), cached.count("audio_tokens")),
        image=less(details.count("image_tokens"), cached.count("image_tokens")),
        video=details.count("video_tokens"),
    )


def _output_with_details(completion: int | None, details: Fields, *, reasoning: int | None) -> Buckets:
    details.count("text_tokens")
    audio, image = details.count("audio_tokens"), details.count("image_tokens")
    return output_parts(completion, reasoning=reasoning, audio=audio, image=image)


def _thoughts(tokens: int) -> Side:
    return {OWN_MODEL: {"reasoning": tokens}} if tokens else {}


def _inside(reasoning: int | None, side: Side) -> int | None:
    """Return the reasoning that is part of the completion, not of what stands beside it."""
    return less(reasoning, side.get(OWN_MODEL, {}).get("reasoning"))


def _perplexity_side(raw: Fields, provider: str) -> Side:
    """Read Perplexity's citation and reasoning tokens: billed, outside its completion and its total."""
    if not (raw.has("citation_tokens", "num_search_queries") or "perplexity" in provider):
        return {}
    beside = {"reasoning": raw.count("reasoning_tokens"), "output_text": raw.count("citation_tokens")}
    known = {bucket: n for bucket, n in beside.items() if n}
    return {OWN_MODEL: known} if known else {}


def read_anthropic(raw: Fields, _provider: str) -> Usage:
    """Read Anthropic's dialect: `input_tokens` is only what came after the last cache breakpoint.

    Compaction and advisors run as iterations of their own, which are billed, but which the top level leaves out
    (recorded: 55,416 tokens billed, 220 at the top); they go to the side buckets, under the iteration's own model.
    """
    out = raw.inner("output_tokens_details")
    reasoning = out.count("thinking_tokens", "reasoning_tokens")
    return build_usage(
        raw,
        prompt=_anthropic_prompt(raw),
        output=output_parts(raw.count("output_tokens"), reasoning=reasoning),
        side=_iterations(raw.items("iterations")),
        inner=(("output", out),),
    )


def _anthropic_prompt(raw: Fields) -> Buckets:
    fresh, read = raw.count("input_tokens"), raw.count("cache_read_input_tokens")
    lives = raw.inner("cache_creation")
    short, long = lives.count("ephemeral_5m_input_tokens"), lives.count("ephemeral_1h_input_tokens")
    write = raw.count("cache_creation_input_tokens")
    if write is None and (short is not None or long is not None):
        write = (short or 0) + (long or 0)
    if write is not None:
        long = min(long or 0, write)
        short = write - long
    return {"input_uncached": fresh, "cache_read": read, "cache_write_5m": short, "cache_write_1h": long}


def _iterations(iterations: list[Fields]) -> Side:
    """Add up the iterations that the top level leaves out: those of any type but `message`."""
    side: Side = {}
    for one in iterations:
        if one.text("type") in (None, "message"):
            continue
        buckets = side.setdefault(one.text("model") or OWN_MODEL, {})
        for bucket, n in {**_anthropic_prompt(one), "output_text": one.count("output_tokens")}.items():
            if n:
                buckets[bucket] = buckets.get(bucket, 0) + n
    return {model: buckets for model, buckets in side.items() if buckets}


def read_google(raw: Fields, _provider: str) -> Usage:
    """Read Google's dialect: thoughts stand beside the candidates, tool-use prompts beside the prompt."""
    prompt = raw.count("promptTokenCount", "prompt_token_count")
    candidates = raw.count(
        "candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count",
        "generation_token_count",
    )  # fmt: skip
    thoughts = raw.count("thoughtsTokenCount", "thoughts_token_count")
    tool_prompt = raw.count("toolUsePromptTokenCount", "tool_use_prompt_token_count")
    total = raw.count("totalTokenCount", "total_token_count")
    output: int | None = (candidates or 0) + (thoughts or 0)
    if candidates is None and thoughts is None:
        output = less(total, (prompt or 0) + (tool_prompt or 0))
    modes = _modalities(raw.items("promptTokensDetails", "prompt_tokens_details"))
    cached = _modalities(raw.items("cacheTokensDetails", "cache_tokens_details"))
    out = _modalities(raw.items("candidatesTokensDetails", "candidates_tokens_details", "responseTokensDetails"))
    return build_usage(
        raw,
        prompt=input_parts(
            prompt,
            read=raw.count("cachedContentTokenCount", "cached_content_token_count"),
            audio=less(modes.get("audio"), cached.get("audio")),
            image=less(modes.get("image"), cached.get("image")),
            video=less(modes.get("video"), cached.get("video")),
        ),
        output=output_parts(output, reasoning=thoughts, audio=out.get("audio"), image=out.get("image")),
        side={OWN_MODEL: {"input_uncached": tool_prompt}} if tool_prompt else {},
    )


def _modalities(details: list[Fields]) -> dict[str, int]:
    """Sum token counts by modality; documents are billed as images."""
    found: dict[str, int] = {}
    for one in details:
        name = (one.text("modality") or "").rsplit(".", 1)[-1].lower()
        mode = "image" if name == "document" else name
        found[mode] = found.get(mode, 0) + (one.count("tokenCount", "token_count") or 0)
    return found


def read_bedrock(raw: Fields, _provider: str) -> Usage:
    """Read Bedrock's Converse dialect: cached tokens stand beside `inputTokens`."""
    write = raw.count("cacheWriteInputTokens", "cacheWriteInputTokenCount")
    hours = [one.count("inputTokens") or 0 for one in raw.items("cacheDetails") if one.text("ttl") == "1h"]
    long = min(sum(hours), write) if write is not None else None
    raw.count("totalTokens", "totalTokenCount")
    return build_usage(
        raw,
        prompt={
            "input_uncached": raw.count("inputTokens", "inputTokenCount"),
            "cache_read": raw.count("cacheReadInputTokens", "cacheReadInputTokenCount"),
            "cache_write_5m": less(write, long),
            "cache_write_1h": long,
        },
        output=output_parts(raw.count("outputTokens", "outputTokenCount"), reasoning=None),
    )


def read_cohere(raw: Fields, _provider: str) -> Usage:
    """Read Cohere's dialect: what it bills, which is less than `tokens` (its own preamble is free)."""
    billed, tokens = raw.inner("billed_units"), raw.inner("tokens")
    source = billed if billed.has("input_tokens", "output_tokens") else tokens
    return build_usage(
        raw,
        prompt=input_parts(source.count("input_tokens"), read=raw.count("cached_tokens")),
        output=output_parts(source.count("output_tokens"), reasoning=None),
        inner=(("billed_units", billed),),
    )


def read_ollama(raw: Fields, _provider: str) -> Usage:
    """Read Ollama's dialect: two counts at the top level of its answer."""
    return build_usage(
        raw,
        prompt=input_parts(raw.count("prompt_eval_count"), read=None),
        output=output_parts(raw.count("eval_count"), reasoning=None),
    )


def read_langchain(raw: Fields, provider: str) -> Usage:
    """Read LangChain's `UsageMetadata`; detail keys may carry a service tier in front (`priority_cache_read`).

    A missing total stays unknown: a cache hit of a message without usage holds `total_cost` alone. What the total
    has on top of both is Google's tool-use prompt, else thoughts; without a provider's name it is not guessed.
    """
    details, out = raw.inner("input_token_details"), raw.inner("output_token_details")
    total = raw.count("total_tokens")
    prompt, completion = complete(raw.count("input_tokens"), raw.count("output_tokens"), total)
    read, short, long = _langchain_cache(details)
    cached = (read or 0) + (short or 0) + (long or 0)
    if prompt is not None and completion is not None and cached > prompt and total == prompt + completion + cached:
        prompt += cached  # an integration that leaves cached tokens out, as its own total shows
    rest = beyond(prompt, completion, total) if provider else 0
    google = any(name in provider for name in ("google", "gemini", "vertex"))
    side = {OWN_MODEL: {"input_uncached": rest}} if google and rest else _thoughts(rest)
    modes = {mode: _by_suffix(details, mode) for mode in ("audio", "image", "video")}
    out_modes = {mode: _by_suffix(out, mode) for mode in ("audio", "image")}
    if raw.money("total_cost") == 0:  # LangChain's mark of a cache hit, not a price
        raw = raw.without("total_cost")
    return build_usage(
        raw,
        prompt=input_parts(prompt, read=read, write_5m=short, write_1h=long, **modes),
        output=output_parts(completion, reasoning=_inside(_by_suffix(out, "reasoning"), side), **out_modes),
        side=side,
        tier=_tier_of_keys(details, out),
        inner=(("input", details), ("output", out)),
    )


def _langchain_cache(details: Fields) -> tuple[int | None, int | None, int | None]:
    """Return cache reads, short writes, long writes.

    Integrations either set the general figure to zero beside the two special ones, or let it include them.
    """
    short = _by_suffix(details, "ephemeral_5m_input_tokens", "ephemeral_5m")
    long = _by_suffix(details, "ephemeral_1h_input_tokens", "ephemeral_1h")
    generic = _by_suffix(details, "cache_creation", "cache_write")
    return _by_suffix(details, "cache_read"), largest(short, less(generic, long)), long


def _by_suffix(fields: Fields, *names: str) -> int | None:
    """Sum the counts whose key is one of *names*, or ends in one after a tier's name."""
    keys = [k for k in fields.data if isinstance(k, str) and any(k == n or k.endswith(f"_{n}") for n in names)]
    found = [n for n in map(fields.count, keys) if n is not None]
    return sum(found) if found else None


def _tier_of_keys(*details: Fields) -> str | None:
    """Return the service tier that stands in the keys; its own count is a subset of what was read already."""
    tiers = ("priority", "flex", "batch")
    for fields in details:
        fields.count(*tiers)
    keys = [k for fields in details for k in fields.data if isinstance(k, str)]
    return next((t for t in tiers if any(k == t or k.startswith(f"{t}_") for k in keys)), None)
