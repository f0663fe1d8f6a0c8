"""The frameworks' own memories on the same conversations, at the same budgets, counted by the same meter.

The real classes are driven turn by turn with the same messages. Their summariser answers with 150 tokens; its requests
are priced like any other: a prompt of its own, nothing of it cached. They know one limit, which is our soft one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from benchmarks import memory_peers_langchain as langchain
from benchmarks import memory_peers_llamaindex as llamaindex
from benchmarks.memory_data import Chat, Question, requests
from benchmarks.memory_meter import Meter, Price
from benchmarks.memory_peers_langchain import AROUND, Sent, Summarise
from benchmarks.memory_texts import embedder, message_tokens, text_tokens
from tokenwise_core.messages import Message
from tokenwise_core.text.extractive import extract
from tokenwise_core.text.lexical import Lexical

SUMMARY_TOKENS = 150
SAMPLE = 2
"""Conversations that the slow peers get without --full."""
BM25S = "pip install bm25s"
_JUDGED = (1, 2, 3, 4)


class Peer(Protocol):
    """A memory of a framework: what it sends for the request behind *new* messages."""

    def request(self, new: Sequence[Message]) -> list[Sent]: ...


Make = Callable[[int, Summarise], Peer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A peer: how it is made; *summary* is kept free for its summary, which it does not count itself."""

    make: Make
    summary: int = 0
    for_tools: bool = False


def kinds() -> Mapping[str, Kind]:
    """Return the peers that are installed."""
    room = SUMMARY_TOKENS + AROUND
    found = {
        "trim_messages": Kind(make=langchain.Trim),
        "SummarizationMiddleware": Kind(make=langchain.SummaryMiddleware),
        "ChatSummaryMemoryBuffer": Kind(make=llamaindex.SummaryMemory, summary=room),
        "LlamaIndex Memory": Kind(make=llamaindex.Queue),
        "ContextEditingMiddleware": Kind(make=langchain.ContextEditing, for_tools=True),
    }
    if langchain.has_classic():
        found["ConversationSummaryBufferMemory"] = Kind(make=langchain.SummaryBuffer, summary=room)
    return found


def note(*, full: bool) -> str:
    """Say which peers are absent, and how far the slow ones were run."""
    parts = []
    if not langchain.has_classic():
        parts.append(f"ConversationSummaryBufferMemory is absent: {langchain.CLASSIC}")
    if find_spec("bm25s") is None:
        parts.append(f"BM25 is our own index, stemmed; another's: {BM25S}")
    if not full:
        parts.append(f"LlamaIndex Memory with vectors on the first {SAMPLE} conversations; on all with --full")
    return "; ".join(parts)


# Replays --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """What went out for one request: the summaries' prompts before it, in tokens, and its messages."""

    summaries: tuple[int, ...]
    lines: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Replay:
    """One conversation's way with a peer."""

    ours: Meter
    everything: Meter
    worst: float = 0.0

    @property
    def relative(self) -> float:
        return self.ours.cost / self.everything.cost


@dataclass(frozen=True, slots=True)
class Peers:
    """What each peer costs beside sending everything: over all conversations, over the dearest, at the worst moment."""

    cost: dict[str, float]
    relative: dict[str, float]
    worst: dict[str, float]


def replay_peers(chats: Sequence[Chat], price: Price, *, limit: int) -> Peers:
    """Replay *chats* through each peer in a context of *limit* tokens."""
    runs = replays(chats, price, limit=limit)
    return Peers(
        cost={
            name: round(sum(run.ours.cost for run in those) / sum(run.everything.cost for run in those), 3)
            for name, those in runs.items()
        },
        relative={name: round(max(run.relative for run in those), 3) for name, those in runs.items()},
        worst={name: round(max(run.worst for run in those), 3) for name, those in runs.items()},
    )


def replays(chats: Sequence[Chat], price: Price, *, limit: int) -> dict[str, list[Replay]]:
    """Send *chats* through each peer and price what they sent; what was sent is known from then on."""
    with_tools = any(message.tool_calls for chat in chats for message in chat.messages)
    return {
        name: [_priced(chat, steps(name, chat, limit), price) for chat in chats]
        for name, kind in kinds().items()
        if with_tools or not kind.for_tools
    }


@cache
def steps(name: str, chat: Chat, limit: int) -> tuple[Step, ...]:
    """Return what the peer *name* sends for each request of *chat* in a context of *limit* tokens."""
    kind, opaque = kinds()[name], Opaque()
    peer = kind.make(max(limit - chat.fixed - kind.summary, 1), opaque)
    made, before = [], 0
    for at in requests(chat.messages):
        lines = tuple(_line(message) for message in peer.request(chat.messages[before:at]))
        made.append(Step(tuple(opaque.asked), lines))
        opaque.asked.clear()
        before = at
    getattr(peer, "close", int)()
    return tuple(made)


@cache
def _line(message: Sent) -> tuple[str, int]:
    return "\n".join(message), AROUND + text_tokens(message[1])


def _priced(chat: Chat, made: Sequence[Step], price: Price) -> Replay:
    done, summaries = Replay(Meter(price), Meter(price)), 0
    own = [(f"m{at}", message_tokens(message)) for at, message in enumerate(chat.messages)]
    for at, step in zip(requests(chat.messages), made, strict=True):
        for tokens in step.summaries:
            summaries += 1
            done.ours.request(0, [(f"summary {summaries}", tokens)], output=SUMMARY_TOKENS, remember=False)
        done.ours.request(chat.fixed, step.lines)
        done.everything.request(chat.fixed, own[:at])
        done.worst = max(done.worst, done.relative)
    return done


@dataclass(slots=True)
class Opaque:
    """A summariser that answers with 150 tokens which say nothing, another text each time."""

    asked: list[int] = field(default_factory=list)
    count: int = 0

    def __call__(self, messages: Sequence[str]) -> str:
        self.asked.append(sum(AROUND + text_tokens(text) for text in messages))
        self.count += 1
        head = f"Summary number {self.count}"
        return head + " opaque" * (SUMMARY_TOKENS - text_tokens(head))


# Evidence -------------------------------------------------------------------------------------------------------------


def evidence_peers(chats: Sequence[Chat], share: float, *, full: bool = False) -> dict[str, float]:
    """Return the mean share of gold evidence turns that stand in each peer's context of *share* of the tokens.

    What is kept without a look at the question may fill the budget alone; the question comes on top.
    """
    found: dict[str, list[float]] = {}
    for place, chat in enumerate(chats):
        budget = int(share * sum(map(message_tokens, chat.messages)))
        for name, context in _contexts(chat, budget, is_sampled=full or place < SAMPLE).items():
            found.setdefault(name, []).extend(_found(chat, context))
    return {name: round(sum(each) / len(each), 3) for name, each in found.items()}


Context = Callable[[Question], Iterable[str]]
"""The texts that stand in the context for a question."""


def _contexts(chat: Chat, budget: int, *, is_sampled: bool) -> dict[str, Context]:
    made: dict[str, Context] = {
        "extractive summary": _always([_extract(_transcript(chat), budget)]),
        "MiniLM turns": _dense(chat, budget),
        "BM25 turns" if find_spec("bm25s") else "BM25 turns (ours, stemmed)": _lexical(chat, budget),
    }
    for name, kind in kinds().items():
        if not kind.for_tools:
            options = {"chat_history_token_ratio": 1.0} if name == "LlamaIndex Memory" else {}
            made[name] = _always(_kept(chat, kind, budget, **options))
    if is_sampled:
        made["LlamaIndex Memory with vectors"] = _vectors(chat, budget)
    return made


def _found(chat: Chat, context: Context) -> list[float]:
    shares = []
    for question in chat.questions:
        if question.category in _JUDGED and question.evidence:
            shown = _plain("\n".join(context(question)))
            hits = [_plain(chat.messages[at].text) in shown for at in question.evidence]
            shares.append(sum(hits) / len(hits))
    return shares


def _plain(text: str) -> str:
    return " ".join(text.split())


def _always(texts: Sequence[str]) -> Context:
    whole = [_plain("\n".join(texts))]
    return lambda question: whole


def _kept(chat: Chat, kind: Kind, budget: int, **options: Any) -> list[str]:
    """Return what stands in a framework's context after the whole conversation."""
    peer = kind.make(budget - kind.summary, extractive, **options)
    last: list[Sent] = []
    for new in _turns(chat):
        last = peer.request(new)
    getattr(peer, "close", int)()
    return [text for _, text in last]


def _turns(chat: Chat) -> list[Sequence[Message]]:
    cuts = [0, *requests(chat.messages), len(chat.messages)]
    return [chat.messages[a:b] for a, b in pairwise(cuts)]


def _vectors(chat: Chat, budget: int) -> Context:
    peer = llamaindex.with_vectors(budget, extractive)
    for new in _turns(chat):
        peer.put(new)
    return lambda question: peer.ask(question.text)


def extractive(messages: Sequence[str]) -> str:
    """Make a summary of the conversation's own sentences out of any of the peers' summary prompts."""
    said = messages[-1]
    for mark in ("Messages to summarize:\n", "Current summary:\n"):
        said = said.rpartition(mark)[2]
    said = said.removesuffix("\n</messages>").replace("New lines of conversation:", "").replace("New summary:", "")
    said = html.unescape(re.sub(r"</?(?:message|content)[^>]*>", "\n", said))
    return _extract(re.sub(r"(?m)^(?:Human|AI|System|user|assistant|system): ", "", said), SUMMARY_TOKENS)


def _extract(text: str, budget: int) -> str:
    return extract(text, max_tokens=budget, count=text_tokens).text


def _transcript(chat: Chat) -> str:
    return "\n".join(message.text for message in chat.messages)


def _dense(chat: Chat, budget: int) -> Context:
    rows = embedder().embed([message.text for message in chat.messages])
    return _filled(chat, budget, lambda text: rows @ embedder().embed([text])[0])


def _lexical(chat: Chat, budget: int) -> Context:
    texts = [message.text for message in chat.messages]
    if find_spec("bm25s") is None:
        index = Lexical()
        index.add_all(texts)
        return _filled(chat, budget, index.scores)
    import bm25s  # type: ignore[import-not-found,unused-ignore]

    theirs = bm25s.BM25()
    theirs.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)

    def scores(text: str) -> Any:
        tokens = bm25s.tokenize(text, show_progress=False, return_ids=False)[0]
        return theirs.get_scores(tokens) if tokens else np.zeros(len(texts))

    return _filled(chat, budget, scores)


def _filled(chat: Chat, budget: int, scores: Callable[[str], Any]) -> Context:
    """Return the turns with the highest scores that fit."""
    tokens = [message_tokens(message) for message in chat.messages]

    def context(question: Question) -> list[str]:
        kept, left = [], budget
        for at in np.argsort(-scores(question.text), kind="stable"):
            if tokens[at] <= left:
                kept.append(chat.messages[at].text)
                left -= tokens[at]
        return kept

    return context
