from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_cache_and_no_sessions_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENWISE_CACHE", "memory://")
    monkeypatch.setenv("TOKENWISE_SESSIONS", "memory://")
