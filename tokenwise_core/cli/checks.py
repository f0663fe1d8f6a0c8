"""What `tokenwise doctor` looks at. Nothing here stays, but for one key in a store that exists already."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryFile

from sqlalchemy import make_url

from tokenwise_core.analytics.notation import count, moment
from tokenwise_core.analytics.report import EMBEDDING
from tokenwise_core.cli.stores import refuse_what_is_no_store
from tokenwise_core.embeddings import ENVIRONMENT, WINDOW, default_embedder
from tokenwise_core.errors import MissingExtra, TokenwiseError
from tokenwise_core.settings import Settings
from tokenwise_core.switch import enabled
from tokenwise_core.tokens import describe_encodings
from tokenwise_core.tokens.tokenizers import OFFLINE
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.pricing import STALE_AFTER_DAYS, PriceBook
from tokenwise_core.usage.store import SQLiteStore, Store, open_store
from tokenwise_core.usage.store.protocol import Row

CHECKED_KEY = "doctor"
STREAM_REMEDY = (
    "ask for usage in streams: ChatOpenAI(stream_usage=True), "
    "OpenAILike(additional_kwargs={'stream_options': {'include_usage': True}})"
)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?[^;]*(?:;\s*extra\s*==\s*['\"]([^'\"]+)['\"])?")
_BUNDLES = ("all", "dev", "docs")  # extras that only repeat others, or that a user does not need


class Mark(Enum):
    """How a finding is meant: in order, worth knowing, absent but optional, in use and broken."""

    OK = auto()
    NOTE = auto()
    MISSING = auto()
    PROBLEM = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    name: str
    text: str
    mark: Mark = Mark.OK
    remedy: str | None = None


def packages() -> Iterator[Finding]:
    """Tell the version of each dependency, by extra; they are read from our own metadata."""
    for extra, names in _requirements().items():
        versions = {name: _version(name) for name in names}
        absent = [name for name, found in versions.items() if found is None]
        shown = ", ".join(f"{name} {found or 'missing'}" for name, found in versions.items())
        if not absent:
            yield Finding(name=extra or "core", text=shown)
        elif extra is None:
            yield Finding(name="core", text=shown, mark=Mark.PROBLEM, remedy="pip install --upgrade tokenwise")
        else:
            yield Finding(name=extra, text=shown, mark=Mark.MISSING, remedy=f'pip install "tokenwise[{extra}]"')


def tokenizers() -> Iterator[Finding]:
    """Tell where each encoding's file stands; without it counts are estimates."""
    for info in describe_encodings():
        if info.origin is None:
            yield Finding(name=info.name, text="no file: counts are estimates", mark=Mark.MISSING, remedy=info.remedy)
        else:
            yield Finding(name=info.name, text=f"{info.origin} ({info.path})")


def embedder() -> Iterator[Finding]:
    """Tell which embedding model is in use."""
    own = os.environ.get(ENVIRONMENT)
    try:
        name = default_embedder().id
    except MissingExtra as error:
        yield Finding(name="embedder", text="none", mark=Mark.MISSING, remedy=str(error).split(": ", 1)[-1])
    except (TokenwiseError, OSError) as error:
        yield Finding(name="embedder", text=str(error), mark=Mark.PROBLEM)
    else:
        kind = f"from {ENVIRONMENT}" if own else f"the embedded default: English, reads the first {WINDOW} tokens"
        yield Finding(name="embedder", text=f"{name}, {kind}")


def prices(settings: Settings) -> Iterator[Finding]:
    """Tell which prices are in use and how old they are."""
    try:
        book = PriceBook(overrides=settings.prices)
    except TokenwiseError as error:
        yield Finding(
            name="price list", text=str(error), mark=Mark.PROBLEM, remedy="mend the file that TOKENWISE_PRICES names"
        )
        return
    age = book.age_days()
    old = age is not None and age > STALE_AFTER_DAYS
    yield Finding(
        name="price list",
        text=book.version + ("" if age is None else f", last changed {age} days ago"),
        mark=Mark.NOTE if old else Mark.OK,
        remedy="pip install --upgrade genai-prices" if old else None,
    )


def store(settings: Settings) -> Iterator[Finding]:
    """Tell whether the store can be read and written, and what its calls lack."""
    try:
        opened = open_store(settings.store)
        yield Finding(name="url", text=opened.url)
        path = Path(make_url(opened.url).database or "") if isinstance(opened, SQLiteStore) else None
        if path is not None and not path.exists():
            yield unmade(path)
            return
        if path is not None:
            refuse_what_is_no_store(path)
        yield from _contents(opened)
        opened.set_state(CHECKED_KEY, {"written_at": time.time()})
        yield Finding(name="writable", text="yes")
        opened.close()
    except (TokenwiseError, OSError) as error:
        remedy = "name another store with --store or TOKENWISE_STORE, or restore this one from a copy"
        yield Finding(name="store", text=" ".join(str(error).split()), mark=Mark.PROBLEM, remedy=remedy)


def environment(settings: Settings, *, chosen: bool) -> Iterator[Finding]:
    """Tell the settings in force, where they come from, and whether TokenWise is switched off."""
    config = os.environ.get("TOKENWISE_CONFIG")
    yield Finding(name="TOKENWISE_CONFIG", text=config or "not set", mark=Mark.NOTE)
    for name in type(settings).model_fields:
        source = "--store" if name == "store" and chosen else _source(name, settings)
        yield Finding(name=name, text=f"{_shown(name, settings)} ({source})", mark=Mark.NOTE)
    for name in (ENVIRONMENT, OFFLINE):
        yield Finding(name=name, text=os.environ.get(name) or "not set", mark=Mark.NOTE)
    if enabled():
        yield Finding(name="kill switch", text="off: calls are accounted", mark=Mark.NOTE)
    else:
        yield Finding(
            name="kill switch", text="ON: nothing is accounted", mark=Mark.MISSING, remedy="unset TOKENWISE_DISABLED"
        )


def _requirements() -> dict[str | None, list[str]]:
    """Return the packages of each extra (None: needed always)."""
    found: dict[str | None, list[str]] = {None: []}
    for line in requires("tokenwise") or ():
        match = _REQUIREMENT.match(line)
        if match and match[1] != "tokenwise" and match[2] not in _BUNDLES:
            found.setdefault(match[2], []).append(match[1])
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unmade(path: Path, *, by: str = "recorded call", variable: str = "TOKENWISE_STORE") -> Finding:
    """Judge a file that the first recorded call, or cached answer, will make."""
    parent = next(folder for folder in path.parents if folder.exists())
    try:
        with TemporaryFile(dir=parent):  # not os.access: root has all rights, yet cannot write everywhere
            return Finding(name="writable", text=f"not there yet; the first {by} makes it", mark=Mark.NOTE)
    except OSError as error:
        text = f"{parent} cannot be written: {error.strerror or error}"
        return Finding(name="writable", text=text, mark=Mark.PROBLEM, remedy=f"set {variable}")


def _contents(opened: Store) -> Iterator[Finding]:
    rows = [row for row in opened.totals(by=("model", "operation")) if row.key["operation"] != EMBEDDING]
    calls = sum(row.totals.calls for row in rows)
    hours = opened.totals(by=("hour",))
    since = f" since {moment(float(hours[0].key['hour'] or 0))} UTC" if hours else ""
    yield Finding(name="holds", text=f"{count(calls)} model calls{since}")
    counted: Counter[str] = Counter()
    for row in rows:
        counted[_model(row)] += _not_reported(row.totals.sources)
    if counted := +counted:  # without those whose calls all reported
        text = f"calls that reported none and were counted by us: {counted.total():,} of {', '.join(counted)}"
        yield Finding(name="usage", text=text, mark=Mark.NOTE, remedy=STREAM_REMEDY)
    unpriced = sorted({_model(row) for row in rows if row.totals.unpriced_calls and row.totals.total_tokens})
    if unpriced:
        text = f"calls of {', '.join(unpriced)} have none"
        yield Finding(name="prices", text=text, mark=Mark.NOTE, remedy="tokenwise prices check")


def _model(row: Row) -> str:
    return str(row.key["model"] or "a model without a name")


def _not_reported(sources: Mapping[CountSource, int]) -> int:
    return sum(n for source, n in sources.items() if source is not CountSource.REPORTED)


def _source(name: str, settings: Settings) -> str:
    variable = f"TOKENWISE_{name.upper()}"
    if variable in os.environ:
        return variable
    return "TOKENWISE_CONFIG" if name in settings.model_fields_set else "default"


def _shown(name: str, settings: Settings) -> str:
    value = getattr(settings, name)
    if name in ("store", "cache", "sessions") and "://" in value:
        return make_url(value).render_as_string(hide_password=True)
    return "none" if value is None else str(value)
