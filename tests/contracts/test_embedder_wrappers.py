"""Both frameworks' embedding models, wrapped for the cache, behave alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core import MockEmbedding

from tokenwise_core.embeddings import UNKNOWN_WINDOW_BYTES, CachedEmbedder, fits_window
from tokenwise_langchain import LangChainEmbedder
from tokenwise_llamaindex import LlamaIndexEmbedder

Wrapper = LangChainEmbedder | LlamaIndexEmbedder

both = pytest.mark.parametrize(
    "wrapped",
    [partial(LangChainEmbedder, DeterministicFakeEmbedding(size=4)), partial(LlamaIndexEmbedder, MockEmbedding(4))],
    ids=["langchain", "llamaindex"],
)


@both
def test_a_window_that_cannot_be_asked_is_a_bound_in_bytes(wrapped: Callable[..., Wrapper]) -> None:
    usual, told = wrapped(), wrapped(window_bytes=9)
    assert fits_window(usual, "a" * UNKNOWN_WINDOW_BYTES)
    assert not fits_window(usual, "a" * (UNKNOWN_WINDOW_BYTES + 1))
    assert fits_window(told, "茶茶茶")
    assert not fits_window(CachedEmbedder(told), "茶茶茶!")


@both
def test_an_id_that_is_said_wins(wrapped: Callable[..., Wrapper]) -> None:
    assert wrapped(id="mine@2").id == "mine@2"
    assert wrapped().id != "mine@2"


@both
def test_vectors_come_at_length_one_and_from_a_memo(wrapped: Callable[..., Wrapper]) -> None:
    vectors = CachedEmbedder(wrapped()).embed(["tea", "milk", "tea"])
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
