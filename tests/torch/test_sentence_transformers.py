"""The library sentence-transformers as embedder, on a real model."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch

from tokenwise_core.demo.workload import load_workload
from tokenwise_core.embeddings import ENVIRONMENT, OnnxEmbedder, SentenceTransformerEmbedder, default_embedder
from tokenwise_core.embeddings.sentence_transformer import _Model
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Embedder

pytestmark = pytest.mark.torch

TEXTS = ("How do I reset my password?", "", "Ünïcode naïve 日本語 😀", "refund " * 400, "a b", "The parcel is in Lyon.")


@pytest.fixture(scope="module")
def embedder(folder: Path) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(folder)


def test_it_agrees_with_the_embedded_default_which_is_the_same_model_in_int8(embedder: Embedder) -> None:
    asked = [turn.user for conversation in load_workload().conversations[:4] for turn in conversation.turns]
    default = OnnxEmbedder()
    cosines = (embedder.embed(asked) * default.embed(asked)).sum(axis=1)
    assert cosines.min() > 0.99
    assert embedder.id != default.id


def test_it_gives_unit_float32_vectors_in_order(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert isinstance(embedder, Embedder)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    singly = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert (vectors * singly).sum(axis=1).min() > 0.9999
    assert embedder.embed([]).shape == (0, 384)


def test_its_id_is_name_and_weights_known_before_loading(folder: Path) -> None:
    fresh = SentenceTransformerEmbedder(folder)
    assert fresh.id == "model@53aa51172d14"
    assert fresh._handle._held is None


def test_without_a_name_it_is_the_model_that_the_package_index_has() -> None:
    assert SentenceTransformerEmbedder().id == "all-MiniLM-L6-v2@53aa51172d14"


def test_a_folder_of_the_environment_is_run_by_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    assert default_embedder().id == "model@53aa51172d14"
    assert default_embedder().embed(["tea"]).shape == (1, 384)


@pytest.mark.parametrize("text", ["tea " * 254, "tea " * 255, "茶" * 254, "茶" * 255, "x" * 5000, "short", ""])
def test_the_same_texts_fit_as_in_the_same_model_in_int8(embedder: SentenceTransformerEmbedder, text: str) -> None:
    assert embedder.fits(text) == OnnxEmbedder().fits(text)


def test_a_name_that_the_hub_does_not_give_is_bad_input() -> None:
    with pytest.raises(BadInput, match="sentence-transformers cannot load nobody/no-model"):
        SentenceTransformerEmbedder("nobody/no-model").embed(["tea"])


def test_a_hub_name_is_identified_by_the_weights_that_it_stands_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sentence_transformers.SentenceTransformer

    def from_the_hub(name: str, **settings: Any) -> Any:
        assert name == "someone/some-model"
        return real(str(folder), device=settings["device"])

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", from_the_hub)
    first, again = SentenceTransformerEmbedder("someone/some-model"), SentenceTransformerEmbedder("someone/some-model")
    assert first.id == again.id
    assert first.id.startswith("someone/some-model@")
    other = real(str(folder))
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    assert _Model.around(other).weights() != _Model.around(real(str(folder))).weights()


def test_the_application_keeps_its_threads_and_its_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        SentenceTransformerEmbedder(folder).embed(["tea"])
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert capfd.readouterr() == ("", "")


def test_many_threads_share_one_model(embedder: SentenceTransformerEmbedder) -> None:
    def both(i: int) -> tuple[Any, bool]:
        return embedder.embed([f"text {i % 3}"])[0], embedder.fits("long " * (300 - i))

    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(both, range(24)))
    assert all(rows[i][0] @ rows[i % 3][0] > 0.999 and not rows[i][1] for i in range(24))


def test_copies_load_their_own(embedder: SentenceTransformerEmbedder) -> None:
    expected = embedder.embed(["tea"])
    for twin in (copy.deepcopy(embedder), pickle.loads(pickle.dumps(embedder))):
        assert twin._handle._held is None
        assert twin.id == embedder.id
        assert np.allclose(twin.embed(["tea"]), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_loads_its_own(embedder: SentenceTransformerEmbedder) -> None:
    expected = embedder.embed(["tea"])[0]
    receiver, sender = multiprocessing.get_context("fork").Pipe()
    with embedder._one_at_a_time, embedder._handle._guard:  # held by another thread of the parent
        child = multiprocessing.get_context("fork").Process(target=_embed_in_child, args=(embedder, sender))
        child.start()
        assert receiver.poll(120)
    vector, opened_in = receiver.recv()
    child.join(10)
    assert opened_in == child.pid
    assert np.allclose(vector, expected, atol=1e-5)


def _embed_in_child(embedder: SentenceTransformerEmbedder, sender: Connection) -> None:
    sender.send((embedder.embed(["tea"])[0].tolist(), embedder._handle._opened_in))
