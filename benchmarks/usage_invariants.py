"""Is every recorded usage read into exclusive buckets that sum to what the provider reported?

Beside ours stand the extractors of genai-prices, and the sums of LangChain's `UsageMetadata` conversion where it is
installed: how many of the same rows they read into totals other than the reported ones.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from genai_prices import extract_usage

from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS
from tokenwise_core.usage.normalize import normalize_usage

FILE = Path("recorded_usage") / "recorded_usage.jsonl.gz"
_EXTRACTORS = {
    "chat": ("openai", "chat", "usage"), "responses": ("openai", "responses", "usage"),
    "anthropic": ("anthropic", "default", "usage"), "google": ("google", "default", "usageMetadata"),
    "bedrock": ("aws", "default", "usage"),
}  # fmt: skip


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the row `usage.invariants.violations`; the count is exact and the same for *full* and *quick*."""
    path = Path(data_dir) / FILE
    row: dict[str, Any] = {
        "area": "accounting", "key": "usage.invariants.violations", "ours": None, "goal": 0, "must": 0,
        "unit": "rows", "better": "lower", "peers": {}, "n": 0, "note": "",
    }  # fmt: skip
    if not path.exists():
        return [{**row, "note": f"skipped: {FILE} is not in the data folder"}]
    rows = list(_rows(path))
    broken = [r for r in rows if _violations(r)]
    row |= {
        "ours": len(broken),
        "n": len(rows),
        "peers": {name: count for name, count in (_genai_prices(rows), _langchain(rows)) if name},
        "note": _note(broken),
    }
    return [row]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _violations(row: Mapping[str, Any]) -> list[str]:
    """Name each law that the reading of *row* breaks, with and without the provider's name."""
    found = []
    for provider in (None, row["api"]):
        usage = normalize_usage(provider, row["usage"])
        buckets = [getattr(usage, name) or 0 for name in INPUT_BUCKETS + OUTPUT_BUCKETS]
        laws: dict[str, bool] = {
            "input": usage.input_sum == row["in"],
            "output": usage.output_sum == row["out"],
            "negative": min(buckets) >= 0,
            "reasoning": (usage.reasoning or 0) <= row["out"],
        }
        found += [law for law, holds in laws.items() if not holds]
    return found


def _note(broken: list[dict[str, Any]]) -> str:
    if not broken:
        return "input and output sums, no bucket below zero, reasoning within the output"
    return "; ".join(f"{row['cassette']}: {', '.join(sorted(set(_violations(row))))}" for row in broken[:3])


def _genai_prices(rows: list[dict[str, Any]]) -> tuple[str, int]:
    """Count rows read into other sums; Google's tool-use prompt may be in the input, as they define it."""
    wrong = 0
    for row in rows:
        provider, flavor, holder = _EXTRACTORS[row["api"]]
        try:
            usage = extract_usage({holder: row["usage"]}, provider_id=provider, api_flavor=flavor).usage
            beside = row["usage"].get("toolUsePromptTokenCount") or 0
            fits = usage.input_tokens in (row["in"], row["in"] + beside) and usage.output_tokens == row["out"]
        except (ValueError, LookupError):
            fits = False
        wrong += not fits
    return "genai-prices extractors", wrong


def _langchain(rows: list[dict[str, Any]]) -> tuple[str, int]:
    """Count OpenAI rows whose LangChain details do not fit their totals; other providers' packages are not asked."""
    try:
        base = import_module("langchain_openai.chat_models.base")
    except ImportError:
        return "", 0
    convert = {"chat": base._create_usage_metadata, "responses": base._create_usage_metadata_responses}
    wrong = 0
    for row in rows:
        if row["api"] in convert:
            usage = convert[row["api"]](row["usage"])
            reasoning = usage.get("output_token_details", {}).get("reasoning", 0)
            cached = sum(usage.get("input_token_details", {}).get(k, 0) for k in ("cache_read", "cache_creation"))
            fits = reasoning <= usage["output_tokens"] and cached <= usage["input_tokens"]
            wrong += not fits or (usage["input_tokens"], usage["output_tokens"]) != (row["in"], row["out"])
    return "langchain-openai UsageMetadata (chat, responses only)", wrong
