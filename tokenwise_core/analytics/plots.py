"""Plots as inline SVG: columns over time, and bars. Colours are CSS classes, so that a page can be light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenwise_core.analytics.notation import compact, markup

_AXIS = 46  # room for the numbers of the axis, in pixels
_BAR, _GAP = 18, 8
_LABEL, _VALUE = 172, 96  # room for a bar's name and its value
_CEILINGS = (1, 1.2, 1.6, 2, 2.4, 2.8, 3.2, 4, 6, 8, 10)  # whose quarters are round too
_LETTERS = 22  # of a name that fit there


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a column or bar; *style* is a CSS class, *name* is what its tooltip says."""

    name: str
    value: float
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Pieces on top of, or after, each other; *value* is written beside a bar."""

    label: str
    pieces: Sequence[Piece]
    value: str = ""

    @property
    def total(self) -> float:
        return sum(piece.value for piece in self.pieces)


def columns(stacks: Sequence[Stack], *, title: str, width: int = 1040, height: int = 260) -> str:
    """Return stacked columns from left to right, with an axis of round numbers."""
    top = nice_ceiling(max((stack.total for stack in stacks), default=0))
    floor, ceiling = height - 24, 10
    pitch = (width - _AXIS - 8) / max(len(stacks), 8)
    drawn = [_grid(top, floor=floor, ceiling=ceiling, width=width)]
    every = max(1, math.ceil(len(stacks) * 64 / (width - _AXIS)))
    for number, stack in enumerate(stacks):
        left = _AXIS + number * pitch
        drawn.append(_column(stack, left=left, width=max(pitch * 0.82, 1), scale=(floor - ceiling) / top, floor=floor))
        if number % every == 0:
            drawn.append(_text(stack.label, x=left + pitch * 0.41, y=height - 6, style="tick", anchor="middle"))
    return _svg("".join(drawn), title=title, width=width, height=height)


def bars(stacks: Sequence[Stack], *, title: str, width: int = 510, top: float | None = None) -> str:
    """Return horizontal bars, one below the other, each with its name and value; *top* is a full bar's length."""
    full = top or max((stack.total for stack in stacks), default=0) or 1
    room = width - _LABEL - _VALUE
    drawn = []
    for number, (stack, name) in enumerate(zip(stacks, shortened([stack.label for stack in stacks]), strict=True)):
        y = 4 + number * (_BAR + _GAP)
        drawn.append(f"<g><title>{markup(stack.label)}</title>")
        drawn.append(f"{_text(name, x=_LABEL - 8, y=y + 13, style='name', anchor='end')}</g>")
        drawn.extend(_row(stack, y=y, scale=room / full))
        drawn.append(_text(stack.value, x=_LABEL + room * min(1, stack.total / full) + 6, y=y + 13, style="value"))
    return _svg("".join(drawn), title=title, width=width, height=8 + len(stacks) * (_BAR + _GAP))


def legend(pieces: Iterable[tuple[str, str]]) -> str:
    """Return the key of a plot from (name, CSS class)."""
    items = "".join(f'<li><span class="swatch {markup(style)}"></span>{markup(name)}</li>' for name, style in pieces)
    return f'<ul class="legend">{items}</ul>'


def shortened(labels: Sequence[str], letters: int = _LETTERS) -> list[str]:
    """Return *labels* cut to *letters*: first what they all begin with goes, then the middle.

    >>> shortened(["conversation-2026-09-21-a", "conversation-2026-09-21-b"])
    ['…21-a', '…21-b']
    """
    if all(len(label) <= letters for label in labels):
        return list(labels)
    pairs = zip(min(labels), max(labels), strict=False)  # what these two share, all share
    common = next((at for at, (a, b) in enumerate(pairs) if a != b), 0)
    common = max(0, min(common, *(len(label) - 4 for label in labels))) if common > 8 else 0
    return [_clipped(f"…{label[common:]}" if common else label, letters) for label in labels]


def _clipped(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 9]}…{text[-8:]}"


def nice_ceiling(value: float) -> float:
    """Return the next round number, for the end of an axis.

    >>> nice_ceiling(1830), nice_ceiling(0)
    (2000.0, 1.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _CEILINGS if value <= step * power * (1 + 1e-9))


def _grid(top: float, *, floor: float, ceiling: float, width: int) -> str:
    lines = []
    for quarter in range(5):
        y = floor - (floor - ceiling) * quarter / 4
        lines.append(f'<line class="grid" x1="{_AXIS}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(_text(compact(top * quarter / 4), x=_AXIS - 6, y=y + 4, style="tick", anchor="end"))
    return "".join(lines)


def _column(stack: Stack, *, left: float, width: float, scale: float, floor: float) -> str:
    drawn, bottom = [], floor
    for piece in stack.pieces:
        tall = piece.value * scale
        if tall <= 0:
            continue
        bottom -= tall
        drawn.append(_rectangle(piece, stack.label, x=left, y=bottom, width=width, height=tall))
    return "".join(drawn)


def _row(stack: Stack, *, y: float, scale: float) -> Iterable[str]:
    left = float(_LABEL)
    for piece in stack.pieces:
        wide = piece.value * scale
        if wide > 0:
            yield _rectangle(piece, stack.label, x=left, y=y, width=wide, height=_BAR)
            left += wide


def _rectangle(piece: Piece, where: str, *, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{markup(piece.style)}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{markup(where)}: {markup(piece.name)}</title></rect>"
    )


def _text(text: str, *, x: float, y: float, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{markup(text)}</text>'


def _svg(content: str, *, title: str, width: int, height: int) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{markup(title)}">{content}</svg>'
