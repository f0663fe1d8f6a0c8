"""Standard output that can take any text, whatever its encoding, and that may fail."""

from __future__ import annotations

import codecs
import io
import os
import sys

HANDLER = "tokenwise"
_PLAIN = dict(zip("─│–−…≈≥·✓✗×", ("-", "|", "-", "-", "...", "~", ">=", "*", "+", "x", "x"), strict=True))


def accept_all_text() -> None:
    """Make stdout write a plain sign, else `?`, for what its encoding lacks (`LC_ALL=C`), instead of failing."""
    codecs.register_error(HANDLER, _plain)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=HANDLER)


def close_quietly() -> None:
    """Point stdout at nothing, so that the interpreter's last flush finds no closed pipe and no full disk."""
    with open(os.devnull, "w") as nothing:  # noqa: PTH123  a device, not a path of ours
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def let_go() -> None:
    """Flush stdout; where that fails, what it still holds is given up."""
    try:
        sys.stdout.flush()
    except OSError:
        close_quietly()


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end
