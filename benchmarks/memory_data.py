"""LoCoMo's chats and tau-bench's agent runs, as conversations to be replayed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokenwise_core.messages import Message, ToolCall

SYSTEM_TOKENS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked after the last turn; *evidence* are the positions of the turns that answer it."""

    text: str
    answer: str
    category: int
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation without its system prompt, which takes *fixed* tokens; a request goes before each assistant's."""

    id: str
    messages: tuple[Message, ...]
    fixed: int
    questions: tuple[Question, ...] = ()


def chats(data: Path) -> list[Chat]:
    """Return LoCoMo's conversations: the first speaker is the user, each turn of the second one request."""
    return [_chat(row) for row in _rows(data / "locomo" / "conversations.jsonl.gz")]


def traces(data: Path, count: Any) -> list[Chat]:
    """Return the agent runs; their system prompt is what stands before the conversation."""
    return [_trace(row, count) for row in _rows(data / "agent_traces" / "tau_airline.jsonl.gz")]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _chat(row: dict[str, Any]) -> Chat:
    user = row["speakers"][0]
    messages: list[Message] = []
    places: dict[str, int] = {}
    for session in row["sessions"]:
        began = _seconds(session["date"])
        for n, turn in enumerate(session["turns"]):
            places[turn["id"]] = len(messages)
            caption = f" [photo: {turn['caption']}]" if turn.get("caption") else ""
            messages.append(
                Message(
                    role="user" if turn["speaker"] == user else "assistant",
                    text=turn["text"] + caption,
                    name=turn["speaker"],
                    index=len(messages),
                    at=began + 30.0 * n,
                )
            )
    return Chat(id=row["id"], messages=tuple(messages), fixed=SYSTEM_TOKENS, questions=_questions(row, places))


def _questions(row: dict[str, Any], places: dict[str, int]) -> tuple[Question, ...]:
    return tuple(
        Question(
            text=one["question"],
            answer=str(one.get("answer", "")),
            category=one["category"],
            evidence=tuple(sorted({places[name] for name in one["evidence"] if name in places})),
        )
        for one in row["questions"]
        if any(name in places for name in one["evidence"])
    )


def _seconds(date: str) -> float:
    """Read "1:56 pm on 8 May, 2023"."""
    return datetime.strptime(date.upper(), "%I:%M %p ON %d %B, %Y").replace(tzinfo=UTC).timestamp()


def _trace(row: dict[str, Any], count: Any) -> Chat:
    messages = [_message(raw, at) for at, raw in enumerate(row["messages"])]
    head = sum(count(message) for message in messages[:1] if message.role == "system")
    rest = messages[1:] if head else messages
    return Chat(id=f"tau-{row['task_id']}-{row['trial']}", messages=tuple(rest), fixed=head)


def _message(raw: dict[str, Any], at: int) -> Message:
    calls = tuple(
        ToolCall(id=call.get("id"), name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in raw.get("tool_calls") or ()
    )
    return Message(
        role=raw["role"],
        text=raw.get("content") or "",
        tool_calls=calls,
        tool_call_id=raw.get("tool_call_id"),
        index=at,
    )


def requests(messages: Sequence[Message]) -> Iterator[int]:
    """Yield the positions before which a request goes out: those of the assistant's messages."""
    return (at for at, message in enumerate(messages) if message.role == "assistant" and at)
