"""Unrelated questions behind prompts that are alike: what makes caches that embed the whole prompt serve anything.

The cache is warmed on a stream first, so that it serves by meaning. Then each pair of questions (of two intents, cosine
below .6) is asked behind the same long prompt, in a namespace part of its own: the second must never get the first's
answer. Beside it: the cosine of the whole prompts, as LangChain serialises them, at a threshold of .95.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cache_streams import send
from benchmarks.cache_texts import INTENTS, Question, embedder, intents, uniform
from tokenwise_core.cache import CachedAnswer, CacheRequest, MemoryEntries, SemanticCache
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.messages import Message, Prompt, ToolCall, ToolDefinition

WARM_UP, PAIRS, HISTORIES = 4_000, 10_000, 2_000
UNRELATED = 0.6
Shape = Callable[[str], Prompt]


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return false hits behind five prompt shapes, and after another history."""
    questions = intents(data_dir)
    keys = ("prompt_shapes.false_hits", "prompt_shapes.other_history_hits")
    if not questions:
        return [_figure(key, None, 0, note=INTENTS) for key in keys]
    embedder().learn(question.text for question in questions)
    with SemanticCache(
        namespace="shapes", entries=MemoryEntries(), embedder=embedder(), deadline_ms=60_000, explore=0
    ) as cache:
        cache.ready()
        warmed = send(cache, uniform(questions, seed=11, requests=300 if quick else WARM_UP))
        pairs = _unrelated(questions, 200 if quick else PAIRS)
        false = sum(_false_hits(cache, shape, pairs[number::5], number) for number, shape in enumerate(_shapes()))
        histories = _other_history(cache, questions[: 100 if quick else HISTORIES])
    note = f"five prompt shapes; the cache had served {warmed.hit_rate:.2f} of its warm-up stream by meaning"
    return [
        _figure(keys[0], false, len(pairs), note=note, peers=_whole_prompts(pairs[:200])),
        _figure(keys[1], histories, min(len(questions), HISTORIES), note="the same question after another history"),
    ]


def _unrelated(questions: Sequence[Question], n: int) -> list[tuple[str, str]]:
    dice, pairs = random.Random(5), list[tuple[str, str]]()
    while len(pairs) < n:
        one, other = dice.sample(questions, 2)
        if (
            one.intent != other.intent
            and float(embedder().embed([one.text])[0] @ embedder().embed([other.text])[0]) < UNRELATED
        ):
            pairs.append((one.text, other.text))
    return pairs


def _shapes() -> list[Shape]:
    """Return prompts as applications build them: long system prompt, tools, history, a tool's result, a form."""
    pages = [document.text for document in load_workload().documents]
    system = Message(role="system", text="\n\n".join(pages[:6]))
    brief = Message(role="system", text="You are a support agent.")
    tools = tuple(
        ToolDefinition(name=f"tool_{n}", description=page[:200], parameters={"type": "object", "properties": {}})
        for n, page in enumerate(pages[:20])
    )
    chat = tuple(
        Message(role="user" if n % 2 == 0 else "assistant", text=page[:300]) for n, page in enumerate(pages[:10])
    )
    call = (
        Message(role="user", text="Look it up."),
        Message(role="assistant", tool_calls=(ToolCall(name="search", arguments='{"q": "plans"}', id="c1"),)),
        Message(role="tool", text=pages[3], tool_call_id="c1"),
        Message(role="assistant", text="I have it before me."),
    )
    form = Message(role="system", text=f"Answer in JSON.\n{pages[7]}")
    return [
        lambda text: Prompt(messages=(system, Message(role="user", text=text))),
        lambda text: Prompt(messages=(brief, Message(role="user", text=text)), tools=tools),
        lambda text: Prompt(messages=(brief, *chat, Message(role="user", text=text))),
        lambda text: Prompt(messages=(brief, *call, Message(role="user", text=text))),
        lambda text: Prompt(messages=(form, Message(role="user", text=text)), options={"response_format": "json"}),
    ]


def _false_hits(cache: SemanticCache, shape: Shape, pairs: Sequence[tuple[str, str]], number: int) -> int:
    for place, (stored, _) in enumerate(pairs):
        cache.put(_request(shape(stored), f"{number}/{place}"), CachedAnswer(text=f"answer {place}"))
        if place % 500 == 0:
            cache.flush(60)
    cache.flush(60)
    return sum(
        cache.lookup(_request(shape(asked), f"{number}/{place}")).hit is not None
        for place, (_, asked) in enumerate(pairs)
    )


def _other_history(cache: SemanticCache, questions: Sequence[Question]) -> int:
    """Ask each question after one history, then after another: a hit there answers another conversation."""

    def after(said: str, text: str) -> CacheRequest:
        turns = (Message(role="user", text=said), Message(role="assistant", text="Noted."))
        return _request(Prompt(messages=(*turns, Message(role="user", text=text))), "history")

    for place, question in enumerate(questions):
        cache.put(after("I am on the family plan.", question.text), CachedAnswer(text=question.answer))
        if place % 500 == 0:
            cache.flush(60)
    cache.flush(60)
    return sum(cache.lookup(after("I am on the trial plan.", q.text)).hit is not None for q in questions)


def _whole_prompts(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Return the share of pairs that a threshold on whole prompts serves, with the long system prompt before them."""
    try:
        from langchain_core.load import dumps
        from langchain_core.messages import HumanMessage, SystemMessage
    except ImportError:
        return {}
    system = SystemMessage(content=_shapes()[0]("x").messages[0].text)
    both = [[dumps([system, HumanMessage(content=text)]) for text in pair] for pair in pairs]
    served = sum(float(embedder().embed([a])[0] @ embedder().embed([b])[0]) >= 0.95 for a, b in both)
    return {"cosine .95 on the whole prompt, share served": round(served / len(pairs), 3)}


def _request(prompt: Prompt, part: str) -> CacheRequest:
    return CacheRequest(prompt=prompt, model="oracle", extra={"part": part})


def _figure(
    key: str, ours: int | None, n: int, *, note: str = "", peers: dict[str, float] | None = None
) -> dict[str, Any]:
    return {
        "area": "cache", "key": key, "ours": ours, "must": 0, "goal": 0, "unit": "hits", "better": "lower",
        "peers": peers or {}, "n": n, "note": note,
    }  # fmt: skip
