"""A cache to test with: real store and index, a hash embedder, a model that counts its calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from tokenwise_core.cache import CachedAnswer, CacheRequest, MemoryEntries, SemanticCache
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.events import Usage

QUESTION = "How do I reset the password of my account?"
REPHRASED = "how do I reset the password of my account"
USAGE = Usage(input_tokens=900, input_uncached=900, output_tokens=100, output_text=100)


def make_cache(**kwargs: Any) -> SemanticCache:
    given = {
        "namespace": "desk",
        "entries": MemoryEntries(),
        "embedder": HashEmbedder(),
        "deadline_ms": 5_000,
        "explore": 0,
    }
    cache = SemanticCache(**{**given, **kwargs})
    cache.ready()
    return cache


def asked(text: str = QUESTION, *before: Message, **kwargs: Any) -> CacheRequest:
    messages = (Message(role="system", text="You are a clerk."), *before, Message(role="user", text=text))
    return CacheRequest(prompt=Prompt(messages=messages), **{"model": "gpt-4o", **kwargs})


def answer(text: str = "Press the button.", **kwargs: Any) -> CachedAnswer:
    given = {
        "payload": {"content": text},
        "model": "gpt-4o",
        "provider": "openai",
        "usage": USAGE,
        "finish_reason": "stop",
    }
    return CachedAnswer(text=text, **{**given, **kwargs})


class Model:
    """A model that answers at once, or when it is let; *calls* counts."""

    def __init__(self, text: str = "Press the button.", *, held: bool = False) -> None:
        self.text, self.calls = text, 0
        self._lock, self.go = threading.Lock(), threading.Event()
        if not held:
            self.go.set()

    def __call__(self) -> CachedAnswer:
        with self._lock:
            self.calls += 1
        self.go.wait(10)
        return answer(self.text)


class Broken:
    """Another object of which the methods named fail, or hang until released."""

    def __init__(self, inner: Any, names: Sequence[str], *, hangs: bool = False) -> None:
        self._inner, self._names, self._hangs = inner, set(names), hangs
        self.release = threading.Event()

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return self._fail
        return getattr(self._inner, name)

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        if self._hangs:
            self.release.wait(30)
        raise RuntimeError("broken on purpose")
