"""Which recorded requests each counting figure is judged on, as the issue words it."""

from __future__ import annotations

import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
SOURCE = "VCR cassettes of pydantic/pydantic-ai, simonw/llm, langchain-ai/langchain-aws with the reported usage"
_OPENAI = re.compile(r"^(openai/)?(gpt-|o1|o3|o4|chatgpt-)")
_ROUND = frozenset(("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"))


def load(data: Path) -> list[Row]:
    """Return the recorded rows in file order, none when the folder is absent."""
    rows: list[Row] = []
    for path in sorted((data / "recorded_usage").glob("*.jsonl*")):
        data_bytes = path.read_bytes()
        text = gzip.decompress(data_bytes) if path.suffix == ".gz" else data_bytes
        rows.extend(json.loads(line) for line in text.splitlines() if line)
    return rows


def is_openai(row: Row) -> bool:
    model = str(row.get("model") or "").lower()
    return bool(_OPENAI.match(model)) and "gpt-oss" not in model and "search" not in model


def is_hidden(row: Row) -> bool:
    """Tell whether the model saw more than the request shows: state kept by the provider, or replayed reasoning."""
    request = row["request"]
    if any(request.get(key) for key in ("previous_response_id", "conversation", "context_management")):
        return True
    if _mapping(request.get("reasoning")).get("mode") == "pro":
        return True
    answered = _mappings(_mapping(row.get("answer")).get("output"))
    if any(item.get("type") in ("compaction", "reasoning") for item in _items(request)):
        return True
    if any(item.get("type") == "compaction" for item in answered):
        return True
    return any(_replays_reasoning(turn) for turn in (*_messages(request), *_mappings(request.get("contents"))))


def _replays_reasoning(turn: Row) -> bool:
    if turn.get("reasoning_content") or turn.get("reasoning") or turn.get("reasoning_details"):
        return True
    blocks = (*_mappings(turn.get("content")), *_mappings(turn.get("parts")))
    return any(
        block.get("type") in ("thinking", "redacted_thinking", "compaction")
        or "reasoningContent" in block
        or block.get("thought")
        or block.get("thoughtSignature")
        for block in blocks
    )


def has_tools(row: Row) -> bool:
    return bool(row["request"].get("tools") or row["request"].get("functions"))


def has_rounds(row: Row) -> bool:
    request = row["request"]
    if any(item.get("type") in _ROUND or _server_item(item) for item in _items(request)):
        return True
    return any(
        m.get("tool_calls") or m.get("function_call") or m.get("role") in ("tool", "function")
        for m in _messages(request)
    )


def _server_item(item: Row) -> bool:
    kind = str(item.get("type") or "message")
    return kind == "additional_tools" or kind.endswith(("_call", "_call_output", "_output")) or kind.startswith("mcp_")


def has_schema(row: Row) -> bool:
    request = row["request"]
    answer = _mapping(_mapping(request.get("text")).get("format"))
    return bool(_mapping(request.get("response_format")).get("json_schema")) or answer.get("type") == "json_schema"


def is_message_row(row: Row) -> bool:
    if not is_openai(row) or row["api"] not in ("chat", "responses"):
        return False
    return not (has_tools(row) or has_rounds(row) or has_schema(row))


def is_chat_tools_row(row: Row) -> bool:
    return is_openai(row) and row["api"] == "chat" and has_tools(row) and not row["builtin"]


def is_responses_tools_row(row: Row) -> bool:
    if not is_openai(row) or row["api"] != "responses" or not has_tools(row) or row["builtin"]:
        return False
    parts = (*_mappings(row["request"].get("tools")), *_items(row["request"]))
    return not any(str(part.get("type") or "").startswith(("tool_search", "mcp")) for part in parts)


def named(name: str) -> Callable[[Row], bool]:
    """Return the test for rows of models with *name* in theirs, without tools."""
    return lambda row: name in str(row.get("model") or "").lower() and row["ntools"] == 0 and not row["builtin"]


def select(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> tuple[list[Row], int]:
    """Return the rows that *wanted* takes, and how many of them are left out for hidden context."""
    taken = [row for row in rows if row.get("in") and wanted(row)]
    shown = [row for row in taken if not is_hidden(row)]
    return shown, len(taken) - len(shown)


def folders(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield rows by repository and folder of the cassette, in file order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["repository"], posixpath.dirname(row["cassette"])), []).append(row)
    yield from groups.values()


def is_held_out(row: Row) -> bool:
    """Tell whether a recording is of the half that no rule was looked for in."""
    name = f"{row['repository']}{row['cassette']}"
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 1


def _items(request: Row) -> list[Row]:
    return _mappings(request.get("input"))


def _messages(request: Row) -> list[Row]:
    return _mappings(request.get("messages"))


def _mapping(value: Any) -> Row:
    return value if isinstance(value, Mapping) else {}


def _mappings(values: Any) -> list[Row]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
