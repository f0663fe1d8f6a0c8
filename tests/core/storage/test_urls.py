from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import make_url

from tokenwise_core.errors import BadInput
from tokenwise_core.storage.urls import place_of, postgres_url


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("memory://", ("memory", "")),
        ("cache.db", ("sqlite", "cache.db")),
        ("sqlite:///cache.db", ("sqlite", "cache.db")),
        ("sqlite:////var/cache.db", ("sqlite", "/var/cache.db")),
        ("sqlite:///cache.db?timeout=5", ("sqlite", "cache.db")),
        ("postgresql://u@h/n", ("postgres", "postgresql://u@h/n")),
        ("postgresql+psycopg://u@h/n", ("postgres", "postgresql+psycopg://u@h/n")),
    ],
)
def test_a_url_says_which_database_and_where(url: str, place: tuple[str, str]) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize("url", ["mysql://u@h/n", "sqlite://", "://"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        place_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/n",
        "postgresql://u@h:5432/n",
        "postgresql://u:sesame@h/n",
        "postgresql+psycopg://u:ses%40me@h/n?connect_timeout=5",
        "postgresql://u:sesame@/n?host=/var/run",
        "postgresql://u:ses@me@h/n",
        "postgresql://h/n?user=u&password=sesame",
        "postgresql://u:sesame@[::1]:5432/n",
    ],
)
def test_a_database_is_shown_as_sqlalchemy_shows_it(url: str) -> None:
    full, shown = postgres_url(url)
    parsed = make_url(url).set(drivername="postgresql")
    assert make_url(full) == parsed
    for name in ("username", "host", "port", "database"):
        assert getattr(make_url(shown), name) == getattr(parsed, name)
    assert shown == parsed.render_as_string(hide_password=True) or "?" in url
    assert not any(word in shown for word in ("ses", "%40"))
    assert full.startswith("postgresql://")


def test_a_plain_url_is_read_without_sqlalchemy() -> None:
    code = (
        "import sys; from tokenwise_core.storage.urls import place_of, postgres_url;"
        " place_of('postgresql://u:p@h/n'), place_of('sqlite:///x'), postgres_url('postgresql://u:p@h/n');"
        " print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
