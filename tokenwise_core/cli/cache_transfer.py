"""`tokenwise cache export` and `import`: what a cache knows, as lines of JSON."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tokenwise_core.cache.entries import open_entries
from tokenwise_core.cache.transfer import Imported, export_lines, import_lines
from tokenwise_core.cli.cache_purge import counted_entries
from tokenwise_core.cli.caches import cache_url, existing_cache, find_cache
from tokenwise_core.cli.namespaces import stored_namespace
from tokenwise_core.cli.terminal import progress, remark
from tokenwise_core.errors import BadInput

SHOWN_BAD = 10
BAD_LINES = 1


def run(arguments: argparse.Namespace) -> int:
    """Write or read the lines."""
    if arguments.action == "export":
        return _export(arguments.file, arguments.cache, arguments.namespace)
    return _import(arguments.file, arguments.cache)


def _export(name: str, url: str | None, namespace: str | None) -> int:
    stored = None if namespace is None else stored_namespace(namespace)
    with existing_cache(url) as entries:
        total = sum(row.entries for row in entries.totals() if stored in (None, row.namespace))
        with _writing(name) as file, progress() as bars:
            bar = bars.add_task("exporting", total=total)
            n = 0
            for n, line in enumerate(export_lines(entries, now=time.time(), namespace=stored), 1):
                file.write(f"{line}\n")
                if n <= total:
                    bars.update(bar, completed=n)
        unreadable = entries.unreadable
    remark(f"wrote {_lines(n)}" + ("" if name == "-" else f" to {name}"))
    if unreadable:
        remark(
            f"{counted_entries(unreadable)} could not be read (damaged, or sealed with a key that only the "
            "application has) and are not among them"
        )
    return 0


def _import(name: str, url: str | None) -> int:
    with _reading(name) as (file, total), progress() as bars:
        entries = find_cache(url) or open_entries(cache_url(url))  # importing may begin a cache
        if entries.url == "memory://":
            raise BadInput("memory:// is gone when this command ends: give --cache, or set TOKENWISE_CACHE")
        bar = bars.add_task("importing", total=total)
        try:
            result = import_lines(entries, file, now=time.time(), seen=lambda n: bars.update(bar, completed=n))
        finally:
            entries.close()
    if result.bad and result.bad == result.lines:
        first = result.bad_lines[0]
        raise BadInput(
            f"{name} is no exported cache: no line of it can be used (line {first.number:,}: {first.reason})"
        )
    for line in _told(result):
        remark(line)
    return BAD_LINES if result.bad else 0


def _told(result: Imported) -> Iterator[str]:
    yield f"stored {counted_entries(result.entries)} and {_labels(result.labels)} of {_lines(result.lines)}"
    for n, what in (
        (result.known, "were there already, the same or newer"),
        (result.expired, "have expired"),
        (result.outdated, "were invalidated since, or come from a namespace with another history"),
        (result.bad, "could not be used"),
    ):
        if n:
            yield f"{n:,} {what}"
    for bad in result.bad_lines[:SHOWN_BAD]:
        yield f"  line {bad.number:,}: {bad.reason}"
    if result.bad > SHOWN_BAD:
        yield f"  and {result.bad - SHOWN_BAD:,} more"


@contextmanager
def _writing(name: str) -> Iterator[TextIO]:
    """Open the file to be written; it takes its place when it is whole, readable by its owner alone."""
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {name}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _reading(name: str) -> Iterator[tuple[Iterable[str], int | None]]:
    """Open the file to be read, and tell how many lines it has; bytes that are no UTF-8 make a bad line."""
    if name == "-":
        yield _decoded(sys.stdin.buffer), None
        return
    try:
        with Path(name).open("rb") as file:
            total = sum(1 for _ in file) if file.seekable() else None
            if total is not None:
                file.seek(0)
            yield _decoded(file), total
    except OSError as error:
        raise BadInput(f"cannot read {name}: {error.strerror or error}") from error


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        yield line.decode("utf-8", "replace")


def _lines(n: int) -> str:
    return "1 line" if n == 1 else f"{n:,} lines"


def _labels(n: int) -> str:
    return "1 label" if n == 1 else f"{n:,} labels"
