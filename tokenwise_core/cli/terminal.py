"""The terminal: where results, remarks and progress go."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tokenwise_core.errors import BadInput

PIPE_WIDTH = 10_000
"""As wide as anything: what is read by a program is neither cut nor wrapped."""


class _Out(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError  # the command line knows what to do; rich would end the process with status 1


def show(*things: RenderableType) -> None:
    """Print results to stdout: coloured on a terminal; plain, unpadded and uncut in a pipe or file."""
    if sys.stdout.isatty():
        _print(_Out(highlight=False), things)
        return
    text = io.StringIO()
    _print(Console(file=text, width=PIPE_WIDTH, color_system=None, force_terminal=False, highlight=False), things)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def _print(console: Console, things: Iterable[RenderableType]) -> None:
    for thing in things:
        console.print(thing, markup=False)


def remark(text: str) -> None:
    """Tell something beside the result, on stderr."""
    print(text, file=sys.stderr)


def progress() -> Progress:
    """Return progress bars on stderr; nothing is drawn where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def write(text: str, output: str | None) -> None:
    """Write a result to the file *output*, or to stdout for None and `-`."""
    if output in (None, "-"):
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        return
    try:
        Path(str(output)).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {output}: {error.strerror or error}") from error


def can_ask() -> bool:
    """Say whether somebody sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> bool:
    """Ask for a yes; an input that ends is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
