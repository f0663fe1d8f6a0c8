"""BPE files: found offline, verified, fetched behind the caller's back, never waited for."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.tokens import TokenCounter, describe_encodings, tokenizers
from tokenwise_core.tokens.bpe_files import BPE_FILES, BpeFile, own_cache, places_of
from tokenwise_core.tokens.estimator import estimate_tokens
from tokenwise_core.tokens.models import family_of
from tokenwise_core.tokens.tokenizers import Tokenizer, tokenizer
from tokenwise_core.usage.components import CountSource

O200K = BPE_FILES["o200k_base"]
MIXED = "def f(x):\n\treturn x//2  # naïve – 你好 Привет 🙂 12345\r\n\r\n  it's DONE"


def nowhere(_: BpeFile) -> list[tuple[str, Path]]:
    return []


def no_network(_: str) -> bytes:
    raise OSError("no route to host")


@pytest.fixture
def found() -> Path:
    path = describe_encodings()[1].path
    assert path is not None, 'these tests need the BPE files: pip install "tokenwise[offline]"'
    return path


@pytest.fixture
def our_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TOKENWISE_OFFLINE", raising=False)
    return own_cache()


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_our_encoding_cuts_as_tiktokens_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for info in describe_encodings():
        assert info.path is not None
        shutil.copy(info.path, tmp_path / info.path.name)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert tokenizer(name).encode(MIXED) == tiktoken.get_encoding(name).encode_ordinary(MIXED)


def test_a_text_that_looks_like_a_control_token_is_ordinary_text() -> None:
    assert tokenizer("o200k_base").count("<|endoftext|>") > 1


def test_a_million_equal_signs_are_counted() -> None:
    assert tokenizer("o200k_base").count("=" * 1_000_000) > 1_000


def test_without_file_and_network_counts_are_marked_estimates_with_one_warning(
    our_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TOKENWISE_OFFLINE", "1")
    monkeypatch.setattr(tokenizers, "_warning_due", threading.Lock())
    with caplog.at_level(logging.WARNING, logger="tokenwise.tokens"):
        alone = Tokenizer(O200K, places=nowhere, fetch=no_network)
        assert alone.source is CountSource.ESTIMATED
        assert [alone.count(text) for text in ("Hello, world", "")] == [estimate_tokens("Hello, world"), 0]
    assert len(caplog.records) == 1
    assert "tokenwise[offline]" in caplog.text


def test_a_process_without_any_bpe_file_is_warned_once(
    our_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TOKENWISE_OFFLINE", "1")
    monkeypatch.setattr(tokenizers, "_warning_due", threading.Lock())
    cl100k = BPE_FILES["cl100k_base"]
    with caplog.at_level(logging.INFO, logger="tokenwise.tokens"):
        for file in (cl100k, replace(cl100k, merges=40_000), O200K):
            assert Tokenizer(file, places=nowhere, fetch=no_network).count("Hello") > 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_first_count_does_not_wait_for_a_download(our_cache: Path, found: Path) -> None:
    allowed = threading.Event()

    def slow(_: str) -> bytes:
        assert allowed.wait(10)
        return found.read_bytes()

    waiting = Tokenizer(O200K, places=nowhere, fetch=slow)
    counter = TokenCounter(waiting, model="gpt-4o", family=family_of("gpt-4o"))
    prompt = Prompt(messages=(Message(role="user", text="supercalifragilisticexpialidocious"),))
    before = counter.count(prompt)
    allowed.set()
    for thread in threading.enumerate():
        if thread.name == "tokenwise-o200k_base":
            thread.join(10)
    after = counter.count(prompt)
    assert before.source is CountSource.ESTIMATED
    assert after.source is CountSource.EXACT
    assert after.total == TokenCounter.for_model("gpt-4o").count(prompt).total
    kept = our_cache / O200K.cache_name
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == O200K.sha256


def test_a_download_with_a_wrong_checksum_is_not_used(our_cache: Path) -> None:
    wrong = Tokenizer(O200K, places=nowhere, fetch=lambda _: b"aGVsbG8= 0\n")
    assert wrong.count("hello") > 0
    for thread in threading.enumerate():
        if thread.name == "tokenwise-o200k_base":
            thread.join(10)
    assert wrong.source is CountSource.ESTIMATED
    assert not (our_cache / O200K.cache_name).exists()


def test_a_damaged_file_of_another_program_is_passed_over_and_left_alone(tmp_path: Path, found: Path) -> None:
    damaged = tmp_path / O200K.cache_name
    damaged.write_bytes(b"not a BPE file")
    sound = Tokenizer(O200K, places=lambda _: [("theirs", damaged), ("shipped", found)], fetch=no_network)
    assert sound.source is CountSource.EXACT
    assert damaged.read_bytes() == b"not a BPE file"


def test_the_users_own_cache_comes_first(tmp_path: Path, found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(found, tmp_path / found.name)
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tmp_path))
    assert next(iter(places_of(O200K))) == ("DATA_GYM_CACHE_DIR", tmp_path / found.name)


def test_doctor_hears_what_is_missing_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    assert {info.name for info in describe_encodings()} == {"cl100k_base", "o200k_base"}
    monkeypatch.setattr("tokenwise_core.tokens.bpe_files.places_of", nowhere)
    assert all(info.origin is None and "tokenwise[offline]" in (info.remedy or "") for info in describe_encodings())


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("The parcel was handed to the carrier on Tuesday and should arrive within three working days. " * 3, 0.1),
        ("for order in orders:\n    if order.total > limit:\n        yield order.number, order.total\n" * 3, 0.15),
        ("Служба поддержки отвечает на вопросы клиентов каждый день с девяти утра до шести вечера.", 0.15),
        ("如果包裹延误,我们会查询物流状态并告知新的送达日期。收到商品后十四天内可以退货。", 0.15),
    ],
)
def test_the_estimator_is_near_the_real_tokeniser(text: str, tolerance: float) -> None:
    assert abs(estimate_tokens(text) / tokenizer("o200k_base").count(text) - 1) <= tolerance


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_wait_for_a_thread_that_was_loading_in_its_parent() -> None:
    shared = Tokenizer(O200K)
    shared._lock.acquire()
    child = os.fork()
    if child == 0:
        tokenizers.LOAD_SECONDS = 600.0
        signal.alarm(30)  # ends a child that waits
        os._exit(0 if shared.count("Hello there") == 2 else 1)
    shared._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
