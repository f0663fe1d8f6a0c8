"""What changed in a shared state, so that agents read the changes and not the state again.

>>> print(render(diff({"step": 1, "plan": ["a"]}, {"step": 2, "plan": ["a", "b"], "owner": "Ana"})))
~ step: 1 → 2
+ owner = "Ana"
+ plan.1 = "b"
1 unchanged
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""Keys and list positions from the root; empty for the root itself."""
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]*")


class Changed(NamedTuple):
    """A value that was replaced."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Values *added*, *modified* and *removed*, by path; *unchanged_count* counts the values that are equal in both."""

    added: Mapping[Path, Any] = field(default_factory=dict)
    modified: Mapping[Path, Changed] = field(default_factory=dict)
    removed: Mapping[Path, Any] = field(default_factory=dict)
    unchanged_count: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


def diff(before: Any, after: Any) -> Diff:
    """Return what to do to *before* to get *after* (JSON values).

    Lists are compared position by position: what is appended is added; a list of which more than half changed is
    replaced whole. 1, 1.0 and true are three values. An object or list counts as a
    value only where it is empty.
    """
    added: dict[Path, Any] = {}
    modified: dict[Path, Changed] = {}
    removed: dict[Path, Any] = {}
    unchanged = 0
    waiting: list[tuple[Path, Any, Any]] = [((), before, after)]
    while waiting:
        path, old, new = waiting.pop()
        if isinstance(old, dict) and isinstance(new, dict) and (old or new):
            removed |= {(*path, key): value for key, value in old.items() if key not in new}
            added |= {(*path, key): value for key, value in new.items() if key not in old}
            waiting += [((*path, key), old[key], new[key]) for key in reversed(new) if key in old]
        elif isinstance(old, list) and isinstance(new, list) and (old or new) and _mostly_alike(old, new):
            shared = min(len(old), len(new))
            removed |= {(*path, i): old[i] for i in range(shared, len(old))}
            added |= {(*path, i): new[i] for i in range(shared, len(new))}
            waiting += [((*path, i), old[i], new[i]) for i in reversed(range(shared))]
        elif _same(old, new):
            unchanged += 1
        else:
            modified[path] = Changed(old, new)
    return Diff(added=added, modified=modified, removed=removed, unchanged_count=unchanged)


def apply(before: Any, changes: Diff) -> Any:
    """Return the state after *changes*: `apply(before, diff(before, after)) == after`. *before* is left as it is."""
    state = [deepcopy(before)]
    for path in sorted(changes.removed, key=_by_depth, reverse=True):  # a list loses its last items first
        del _holder(state, path)[_key(path)]
    for path, changed in changes.modified.items():
        _holder(state, path)[_key(path)] = deepcopy(changed.after)
    for path, value in changes.added.items():
        holder = _holder(state, path)
        if isinstance(holder, list):
            holder.append(deepcopy(value))
        else:
            holder[path[-1]] = deepcopy(value)
    return state[0]


def render(changes: Diff, *, max_characters: int = 200) -> str:
    """Return one line a change (+ added, ~ modified, - removed); longer values are cut, in the middle, and say so."""

    def shown(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        if len(text) <= max_characters:
            return text
        half = max_characters // 2
        return f"{text[:half]}[… {len(text) - 2 * half:,} characters]{text[-half:]}"

    lines = [f"~ {_named(path)}: {shown(old)} → {shown(new)}" for path, (old, new) in changes.modified.items()]
    lines += [f"+ {_named(path)} = {shown(value)}" for path, value in changes.added.items()]
    lines += [f"- {_named(path)}" for path in changes.removed]
    return "\n".join([*lines, f"{changes.unchanged_count:,} unchanged"])


def _same(old: Any, new: Any) -> bool:
    """Compare as JSON does: by type too, and deeply."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new)


def _mostly_alike(old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Tell whether position by position pays; records count as alike, their own fields are compared next."""
    pairs = list(zip(old, new, strict=False))
    alike = sum(
        _same(a, b) or (isinstance(a, dict) and isinstance(b, dict) and bool(a.keys() & b.keys())) for a, b in pairs
    )
    return 2 * alike >= len(pairs)


def _holder(state: list[Any], path: Path) -> Any:
    """Return what holds the value at *path*; the root is held by *state* itself."""
    holder: Any = state
    for key in (0, *path)[: len(path)]:
        holder = holder[key]
    return holder


def _key(path: Path) -> str | int:
    return path[-1] if path else 0


def _by_depth(path: Path) -> tuple[int, int]:
    return len(path), path[-1] if isinstance(path[-1], int) else -1


def _named(path: Path) -> str:
    return ".".join(_names(path)) or "(all)"


def _names(path: Path) -> Iterator[str]:
    for key in path:
        plain = isinstance(key, int) or _PLAIN_KEY.fullmatch(key)
        yield str(key) if plain else json.dumps(key, ensure_ascii=False)
