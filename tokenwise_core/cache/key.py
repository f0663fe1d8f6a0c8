"""Two hashes of a request: the exact key, and the semantic partition: the same with the question left out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Message, Prompt, ToolDefinition
from tokenwise_core.tokens.memo import Memo, content_key

SCHEMA = 2
"""Version of the key's material: raised whenever the same request would hash another way."""
DIGEST_BYTES = 16
_PLACEHOLDER = "\x00query\x00"
_QUESTION_TAG = "user_input"
_SUMMARY_TAG = "summary"
_LOOSE_ENDS = re.compile(r"[ \t]\n")
_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str, check_circular=False
).encode  # what holds itself is a RecursionError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMode:
    """How much of the conversation before the question must be equal for a rephrased question to hit.

    *kind* "exact": all of it; "window": the last *turns* messages; "summary": the messages tagged as a summary (all of
    it where there is none); "ignore": none. System prompt, tools, model and the rest must be equal in all of them, and
    exact hits always compare everything.
    """

    kind: Literal["exact", "window", "summary", "ignore"] = "exact"
    turns: int = 0

    @property
    def label(self) -> str:
        """Return what keeps partitions of two modes apart, also of two windows."""
        return f"window:{self.turns}" if self.kind == "window" else self.kind

    @classmethod
    def parse(cls, text: str) -> ContextMode:
        """Read "exact", "window:K", "summary" or "ignore"."""
        name, _, turns = text.partition(":")
        if name == "window" and turns.isdigit() and int(turns):
            return cls(kind="window", turns=int(turns))
        if text in {"exact", "summary", "ignore"}:
            return cls(kind=text)  # type: ignore[arg-type]  # one of the literals
        raise BadInput(f"context {text!r}: give exact, window:K (K messages, 1 or more), summary or ignore")


class RequestKey(NamedTuple):
    """The hashes of a request (16 bytes each), and the question that was left out of the second.

    *near* is what the second is made of; None where nothing was asked that could be rephrased: exact hits only.
    """

    exact: bytes
    near: bytes | None
    query: str | None

    @property
    def partition(self) -> bytes | None:
        """The hash of all but the question."""
        return None if self.near is None else _hash(self.near)


def request_key(
    request: CacheRequest, *, namespace: str, epoch: int = 0, embedder: str = "", context: ContextMode | None = None
) -> RequestKey:
    """Hash *request*; *epoch* is that of the namespace, *embedder* the id of what embeds the question.

    Left out are ids, usage and metadata; tool-call ids become their order of appearance. Texts are folded in Unicode
    form (NFC), line ends and trailing blanks only.
    """
    messages = request.prompt.messages
    asked = question(request)
    rows, query = _rows(messages, asked)
    fixed = [
        SCHEMA, namespace, epoch, request.model, request.provider, request.policy,
        request.parameters, request.extra, _tools(request.prompt), _schema(request.prompt), request.prompt.options,
    ]  # fmt: skip
    shape = _encode(fixed)
    whole = _hash(_bytes(shape + "".join(rows)))
    exact = _hash(whole + b"asked:" + _bytes((request.query or "") if query is None else query))
    if query is None or not query.strip():
        return RequestKey(exact=exact, near=None, query=None)
    mode = context or ContextMode()
    shown = whole if mode.kind == "exact" else _hash(_bytes(shape + "".join(_within(rows, messages, mode))))
    return RequestKey(exact=exact, near=shown + _bytes(f"near:{mode.label}:{embedder}"), query=query)


def question(request: CacheRequest) -> tuple[int, int, int] | None:
    """Return where the question stands: (index of the last user message, start, end); None where it stands nowhere.

    It is the query that the request names, else the part that is tagged as the user's input, else the whole message.
    """
    messages = request.prompt.messages
    if not messages or messages[-1].role != "user":
        return None
    index, last = len(messages) - 1, messages[-1]
    if request.query is not None:
        start = last.text.rfind(request.query)
        return None if start < 0 else (index, start, start + len(request.query))
    for tag in last.tags:
        if tag.component == _QUESTION_TAG:
            return index, tag.start, len(last.text) if tag.end is None else tag.end
    return index, 0, len(last.text)


def _rows(messages: Sequence[Message], asked: tuple[int, int, int] | None) -> tuple[list[str], str | None]:
    """Return each message as text that no other message has, the question a placeholder, and the question."""
    ids: dict[str, int] = {}
    if asked is None:
        return [_row(message, _fold(message.text), ids) for message in messages], None
    index, start, end = asked
    text = messages[index].text
    around = f"{_fold(text[:start])}{_PLACEHOLDER}{_fold(text[end:])}"
    rows = [_row(m, around if i == index else _fold(m.text), ids) for i, m in enumerate(messages)]
    return rows, _fold(text[start:end])


def _row(message: Message, text: str, ids: dict[str, int]) -> str:
    """Return role and text behind their lengths, which is quicker than JSON, and as JSON what few messages have."""
    row = f"{len(message.role)},{len(text)}:{message.role}{text}"
    if message.name or message.reasoning or message.tool_calls or message.tool_call_id or message.media:
        calls = [[call.name, _arguments(call.arguments), _order(call.id, ids)] for call in message.tool_calls]
        media = [[m.kind, m.detail, m.width, m.height, m.size_bytes, m.digest] for m in message.media]
        row += _encode([message.name, message.reasoning, calls, _order(message.tool_call_id, ids), media])
    return row


def _order(call_id: str | None, ids: dict[str, int]) -> int | None:
    return None if call_id is None else ids.setdefault(call_id, len(ids))


def _arguments(text: str) -> Any:
    """Return a call's arguments parsed, so that blanks and the order of names do not count."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _within(rows: list[str], messages: Sequence[Message], mode: ContextMode) -> list[str]:
    """Return the rows that must be equal under *mode*: system and developer messages and the question always."""
    fixed = {i for i, message in enumerate(messages) if message.role in {"system", "developer"}} | {len(rows) - 1}
    if mode.kind == "window":
        fixed |= set(range(max(len(rows) - 1 - mode.turns, 0), len(rows)))
    elif mode.kind == "summary":
        summaries = {i for i, m in enumerate(messages) if any(tag.component == _SUMMARY_TAG for tag in m.tags)}
        fixed |= summaries or set(range(len(rows)))
    return [rows[i] for i in sorted(fixed)]


def _tools(prompt: Prompt) -> list[str]:
    """Return the tools' digests, sorted: the order in which they are offered changes no meaning."""
    return sorted(map(_tool_digest, prompt.tools)) if prompt.tools else []


def _tool_digest(tool: ToolDefinition) -> str:
    """Hash one tool's canonical JSON; once for each content, since the same tools come with every call of an agent."""
    shown = _shown(tool)
    content = content_key(shown)
    digest = None if content is None else _tool_digests.get(content)
    if digest is None:
        digest = _hash(_bytes(_encode(shown))).hex()
        if content is not None:
            _tool_digests.put(content, digest)
    return digest


_tool_digests: Memo[str] = Memo(4_096)


def _shown(tool: ToolDefinition) -> list[Any]:
    return [
        tool.kind,
        tool.name,
        tool.description,
        tool.parameters,
        tool.strict,
        tool.raw if tool.kind != "function" else None,
    ]


def _schema(prompt: Prompt) -> Mapping[str, Any] | None:
    schema = prompt.output_schema
    return None if schema is None else {"name": schema.name, "schema": schema.schema, "strict": schema.strict}


def _fold(text: str) -> str:
    """Fold what no model reads differently: Unicode composition, line ends, blanks at line ends and around."""
    if text.isascii() and ("\n" not in text or not _LOOSE_ENDS.search(text)) and "\r" not in text:
        return text.strip()
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n")).strip()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()
