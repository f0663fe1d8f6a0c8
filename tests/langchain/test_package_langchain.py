"""The package's public face: lazy names, and what a handler shows."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from rich.console import Console

import tokenwise_langchain
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler

QUESTION = "How long does a refund of order A-17 take?"


def test_every_public_name_can_be_had() -> None:
    assert sorted(tokenwise_langchain.__all__) == tokenwise_langchain.__all__
    for name in tokenwise_langchain.__all__:
        assert getattr(tokenwise_langchain, name).__name__ == name
        assert name in dir(tokenwise_langchain)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tokenwise_langchain.nonsense


def test_importing_the_package_imports_no_framework() -> None:
    code = "import sys, tokenwise_langchain; assert not {'langchain', 'langchain_core', 'langgraph'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_handler_shows_itself_in_text_terminal_and_notebook(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    model.invoke(QUESTION, config={"callbacks": [handler]})
    console = Console(record=True, width=100)
    console.print(handler)
    for shown in (handler.report(), str(handler), console.export_text()):
        assert "user" in shown.lower()
    assert "<table" in handler._repr_html_()
    assert handler.breakdown(by="model")["replay-strong"].calls == 1


def test_a_reset_forgets_what_was_seen(model: ReplayChatModel, handler: TokenBreakdownHandler) -> None:
    model.invoke(QUESTION, config={"callbacks": [handler]})
    handler.reset()
    assert handler.breakdown().total_tokens == 0
    assert handler.events() == ()


def test_many_threads_share_one_handler(model: ReplayChatModel, handler: TokenBreakdownHandler) -> None:
    def work() -> None:
        for _ in range(20):
            model.invoke(QUESTION, config={"callbacks": [handler]})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handler.breakdown().calls == len(handler.events()) == 160
    assert handler.errors == handler.meter.errors == 0
