from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.settings import Settings, default_store
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.runtime import Runtime, make_runtime, shared_runtime
from tokenwise_core.usage.store import MemoryStore


def mask(text: str) -> str:
    return text.replace("marmalade", "█")


def call(runtime: Runtime, *, stored: bool = True) -> None:
    meter = Meter(runtime.recorder, runtime.accountant, framework="test")
    prompt = Prompt(messages=(Message(role="user", text="marmalade?"),))
    meter.start("run", lambda: CallDetails(prompt=prompt, model="gpt-4o"))
    meter.end("run", lambda: Answered(answer=Answer(text="yes")))
    assert runtime.recorder.flush(20) if stored else runtime.recorder.settle(20)


def test_handlers_of_one_store_share_one_recorder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'usage.sqlite'}"
    assert shared_runtime(url) is shared_runtime(url)
    assert shared_runtime(url) is not shared_runtime("memory://")


def test_a_store_that_cannot_be_opened_leaves_the_application_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tokenwise"):
        runtime = shared_runtime("postgresql://nobody:secret@127.0.0.1:1/nowhere?connect_timeout=1")
        call(runtime, stored=False)
    runtime.recorder.close(timeout_s=0.1)
    assert "secret" not in caplog.text
    assert runtime.recorder.stats().failed == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENWISE_KEEP_TEXT", "perhaps"), ("TOKENWISE_CONFIG", "no-such-file.toml"), ("TOKENWISE_PRICES", "none.toml")],
)
def test_broken_settings_are_logged_and_replaced_by_the_defaults(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "tokenwise"):
        store = MemoryStore()
        call(make_runtime(store))
    assert len(list(store.events())) == 1
    assert "cannot be read" in caplog.text


def test_kept_text_goes_through_the_hook_that_the_settings_name() -> None:
    store = MemoryStore()
    call(make_runtime(store, Settings(keep_text=True, redact=f"{__name__}:mask")))
    [event] = store.events()
    assert "█" in (event.text or "")
    assert "marmalade" not in (event.text or "")


def test_a_hook_that_cannot_be_imported_keeps_no_text() -> None:
    store = MemoryStore()
    call(make_runtime(store, Settings(keep_text=True, redact="no_such_module:mask")))
    [event] = store.events()
    assert event.text is None


def test_a_store_of_an_unknown_kind_leaves_the_application_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tokenwise"):
        call(shared_runtime("mysql://somewhere"))
    assert "cannot be opened" in caplog.text


def test_an_empty_store_setting_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENWISE_STORE", "")
    assert Settings().store == default_store()


def test_making_a_runtime_touches_no_database(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    runtime = shared_runtime(f"sqlite:///{path}")
    assert not path.exists()
    call(runtime)
    assert path.exists()
