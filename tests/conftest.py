"""What every test has: no sockets but loopback, no store of the user's, hypothesis at a count that fits the gate."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("gate", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak" if os.environ.get("TOKENWISE_SOAK") else "gate")


@pytest.fixture(autouse=True)
def _no_store_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TOKENWISE_STORE", "memory://")
    monkeypatch.setenv("TOKENWISE_CACHE", "memory://")
    monkeypatch.setenv("TOKENWISE_SESSIONS", "memory://")
    monkeypatch.delenv("TOKENWISE_DISABLED", raising=False)
    monkeypatch.delenv("TOKENWISE_CONFIG", raising=False)
