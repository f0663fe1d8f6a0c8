"""Read the shipped files into values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from tokenwise_core.demo.workload.values import Conversation, Document, Evidence, RecordedCall, Turn, Workload
from tokenwise_core.messages import ToolDefinition


@cache
def load_workload() -> Workload:
    """Return the bundled workload; read once a process."""
    folder = files("tokenwise_core.demo.workload")
    handbook = [_document(page) for page in _sorted(folder / "handbook", ".md")]
    tools = read_json(folder / "tools.json")
    conversations, long = (
        [read_json(page) for page in _sorted(folder / name, ".json")] for name in ("conversations", "long")
    )
    system_prompt = (folder / "system_prompt.md").read_text("utf-8").strip()
    few_shot = read_json(folder / "few_shot.json")
    pages = [[page.id, page.title, page.text] for page in handbook]
    content = [pages, tools, conversations, long, system_prompt, few_shot]
    return Workload(
        documents=tuple(handbook),
        tools=tuple(_tool(tool) for tool in tools),
        conversations=tuple(_conversation(raw) for raw in conversations),
        system_prompt=system_prompt,
        few_shot=tuple((question, answer) for question, answer in few_shot),
        fingerprint=digest(content),
        long=tuple(_conversation(raw) for raw in long),
    )


def desk_data() -> dict[str, Any]:
    """Return the desk's records as they are shipped; a fresh copy each time."""
    records: dict[str, Any] = read_json(files("tokenwise_core.demo.workload") / "desk.json")
    return records


def digest(value: object) -> str:
    """Return the sha256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_json(path: Traversable) -> Any:
    """Parse a shipped JSON file."""
    return json.loads(path.read_text("utf-8"))


def _sorted(folder: Traversable, suffix: str) -> Iterator[Traversable]:
    yield from sorted((path for path in folder.iterdir() if path.name.endswith(suffix)), key=lambda path: path.name)


def _document(page: Traversable) -> Document:
    heading, _, text = page.read_text("utf-8").partition("\n")
    return Document(id=page.name.removesuffix(".md"), title=heading.removeprefix("#").strip(), text=text.strip())


def _tool(raw: Mapping[str, Any]) -> ToolDefinition:
    function = raw["function"]
    return ToolDefinition(
        name=function["name"], description=function["description"], parameters=function["parameters"], raw=raw
    )


def _conversation(raw: Mapping[str, Any]) -> Conversation:
    return Conversation(**{**raw, "turns": tuple(_turn(turn) for turn in raw["turns"])})


def _turn(raw: Mapping[str, Any]) -> Turn:
    """Build a turn; fields that are absent keep their defaults."""
    return Turn(
        **{
            **raw,
            "steps": tuple(tuple(RecordedCall(**call) for call in step) for step in raw.get("steps", ())),
            "documents": tuple(raw.get("documents", ())),
            "evidence": tuple(_evidence(item) for item in raw.get("evidence", ())),
            "facts": tuple(tuple(fact) for fact in raw.get("facts", ())),
        }
    )


def _evidence(raw: Mapping[str, Any]) -> Evidence:
    return Evidence(kind=raw["kind"], id=raw["id"], wordings=tuple(raw["wordings"]))
