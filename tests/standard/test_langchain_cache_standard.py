"""LangChain's own suites over our LLM cache, in memory and on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from langchain_core.caches import BaseCache
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from tokenwise_core.cache import MemoryEntries, SemanticCache, SQLiteEntries
from tokenwise_core.testing import HashEmbedder
from tokenwise_langchain import FaissSemanticCache


class TestInMemory(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self) -> Iterator[BaseCache]:
        with SemanticCache(shared=True, entries=MemoryEntries(), embedder=HashEmbedder()) as cache:
            yield FaissSemanticCache(cache)


class TestOnDisk(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Iterator[BaseCache]:
        entries = SQLiteEntries(tmp_path / "cache.sqlite")
        with SemanticCache(shared=True, entries=entries, embedder=HashEmbedder()) as cache:
            yield FaissSemanticCache(cache)


class TestInMemoryAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self) -> AsyncIterator[BaseCache]:
        async with SemanticCache(shared=True, entries=MemoryEntries(), embedder=HashEmbedder()) as cache:
            yield FaissSemanticCache(cache)


class TestOnDiskAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, tmp_path: Path) -> AsyncIterator[BaseCache]:
        entries = SQLiteEntries(tmp_path / "cache.sqlite")
        async with SemanticCache(shared=True, entries=entries, embedder=HashEmbedder()) as cache:
            yield FaissSemanticCache(cache)
