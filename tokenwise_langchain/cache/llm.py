"""`FaissSemanticCache`: the semantic cache where LangChain expects an LLM cache."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from tokenwise_core.cache.gate import is_rendered
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.cache.semantic import SemanticCache
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.scoping import Scope, current_scope
from tokenwise_core.switch import enabled
from tokenwise_langchain.cache.calling import find_caller, is_chat, load_messages, read_llm_string, read_prompt
from tokenwise_langchain.cache.messages import from_cached, to_cached
from tokenwise_langchain.cache.parameters import Called
from tokenwise_langchain.cache.requests import QueryOf, cache_request, checked
from tokenwise_langchain.cache.warming import Asker, checked_pairs, how_many, known_pairs
from tokenwise_langchain.runs import Guard, scoped

MAX_PENDING = 256  # lookups whose update is waited for; the oldest are given up


class FaissSemanticCache(BaseCache):
    """Repeated and rephrased questions cost nothing, in every `invoke`, `ainvoke`, `batch` and `abatch` of a model.

    >>> set_llm_cache(FaissSemanticCache(SemanticCache(namespace="desk")))

    *query* tells what is asked in a list of messages, where the last message is a rendered template: without it such
    calls have exact hits only. *category* is the one whose life and vetoes *cache* may have set apart. A hit is a new
    message, marked in `response_metadata["tokenwise"]`.

    LangChain asks a cache before a call and tells it afterwards: `abatch(["same"] * 20)` makes twenty calls, and
    streams never ask. `SemanticCacheMiddleware` and `CachedRunnable` have neither limit. Answers that call tools are
    stored only if *cache* was made with `tool_calls=True`; structured output by function calling is one of them.

    Never raises; `errors` counts what went wrong.
    """

    def __init__(self, cache: SemanticCache, *, query: QueryOf | None = None, category: str | None = None) -> None:
        self.cache = checked(cache)
        self._query, self._category = query, category
        self._begin()

    def _begin(self) -> None:
        self._guard = Guard("cache")
        self._pending = Pending()

    @property
    def errors(self) -> int:
        """How many lookups and updates failed; each went on as a miss."""
        return self._guard.errors

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the answer to this prompt, or to one that asks the same."""
        if not enabled():
            return None
        with self._guard("look up"):
            request, metadata = self._request(prompt, llm_string)
            with scoped(metadata):
                ticket = self.cache.lookup(request)
            return self._answer(prompt, llm_string, ticket)
        return None

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Do what `lookup` does without blocking the event loop."""
        if not enabled():
            return None
        with self._guard("look up"):
            request, metadata = self._request(prompt, llm_string)
            with scoped(metadata):
                ticket = await self.cache.alookup(request)
            return self._answer(prompt, llm_string, ticket)
        return None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store the model's answer."""
        with self._guard("store"):
            if not self._completes(prompt, llm_string, return_val):
                request, metadata = self._request(prompt, llm_string)
                with scoped(metadata):
                    self.cache.put(request, to_cached(return_val))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Do what `update` does without blocking the event loop."""
        with self._guard("store"):
            if not self._completes(prompt, llm_string, return_val):
                request, metadata = self._request(prompt, llm_string)
                with scoped(metadata):
                    await asyncio.to_thread(self.cache.put, request, to_cached(return_val))

    def clear(self, *, namespace: str | None = None, **kwargs: Any) -> None:
        """Delete all entries of the store, or those of one namespace."""
        with self._guard("clear"):
            self.cache.clear(namespace)

    async def aclear(self, *, namespace: str | None = None, **kwargs: Any) -> None:
        """Do what `clear` does without blocking the event loop."""
        await asyncio.to_thread(self.clear, namespace=namespace)

    def warm(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        llm: Any,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store answers that are known, with a progress bar in a terminal; return how many were handed to the store.

        A pair is a question (a text, messages, a prompt's value) and its answer (a text, an `AIMessage`, a
        `Generation`). *llm* is the model that will be asked, whose settings are part of what is looked up, or what was
        made of it by `bind` and `bind_tools`. The namespace is that of the scope in force. `BadInput` for a pair that
        cannot be used; those before it are stored.
        """
        asker = Asker(llm)
        made = (
            (self._asked(asker.prompt(pair), asker.call), to_cached(asker.answers(pair)))
            for pair in known_pairs(checked_pairs(pairs))
        )
        return self.cache.warm(made, progress=progress, total=how_many(pairs, total))

    def _request(self, prompt: str, llm_string: str) -> tuple[CacheRequest, Mapping[str, Any]]:
        caller = find_caller(prompt, llm_string)
        call = read_llm_string(llm_string) if caller is None else caller.called
        metadata = {} if caller is None else caller.metadata
        return self._asked(prompt, call), metadata

    def _asked(self, prompt: str, call: Called) -> CacheRequest:
        messages = read_prompt(prompt)
        if messages is None:
            return self._of_text(prompt, call)
        if self._query is None:
            return cache_request(messages, call, category=self._category)
        query = self._query(load_messages(prompt))
        return cache_request(messages, call, query=query, semantic=query is not None, category=self._category)

    def _of_text(self, prompt: str, call: Called) -> CacheRequest:
        """Return the request of a string model, or of a chat model with message classes that nobody knows."""
        return CacheRequest(
            prompt=Prompt(messages=(Message(role="user", text=prompt),), api="completion"),
            model=call.model,
            provider=call.provider,
            parameters=call.parameters,
            semantic=not is_chat(prompt) and not is_rendered(prompt),
            category=self._category,
        )

    def _answer(self, prompt: str, llm_string: str, ticket: Ticket) -> list[Generation] | None:
        if ticket.hit is not None:
            return from_cached(ticket.hit)
        self._pending.keep(prompt, llm_string, ticket)
        return None

    def _completes(self, prompt: str, llm_string: str, generations: Sequence[Generation]) -> bool:
        """Hand the answer to the ticket of its lookup, which knows the neighbours; False where there is none."""
        if not enabled():
            return True
        ticket = self._pending.take(prompt, llm_string)
        if ticket is not None:
            ticket.complete(to_cached(generations))
        return ticket is not None

    def __getstate__(self) -> dict[str, Any]:
        return {"cache": self.cache, "_query": self._query, "_category": self._category}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


class Pending:
    """The tickets between a lookup and its update, which LangChain makes in one thread and one task.

    A ticket is for whoever asked: an update from another thread, task or scope never gets it, so that no answer lands
    in a namespace that it was not asked in. A call that fails leaves its ticket, which holds nothing but memory.
    """

    def __init__(self) -> None:
        self._tickets: OrderedDict[tuple[bytes, int, int], tuple[Scope, Ticket]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, prompt: str, llm_string: str, ticket: Ticket) -> None:
        """Remember the newest ticket of a call."""
        key = _call_id(prompt, llm_string)
        with self._lock:
            self._tickets[key] = current_scope(), ticket
            self._tickets.move_to_end(key)
            if len(self._tickets) > MAX_PENDING:
                self._tickets.popitem(last=False)

    def take(self, prompt: str, llm_string: str) -> Ticket | None:
        """Return the ticket of a call, and forget it."""
        with self._lock:
            owner, ticket = self._tickets.pop(_call_id(prompt, llm_string), (None, None))
        return ticket if owner == current_scope() else None

    def __len__(self) -> int:
        return len(self._tickets)


def _call_id(prompt: str, llm_string: str) -> tuple[bytes, int, int]:
    digest = blake2b(f"{len(prompt)}:{prompt}{llm_string}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    try:
        task = id(asyncio.current_task())
    except RuntimeError:  # no event loop here
        task = 0
    return digest, threading.get_ident(), task
