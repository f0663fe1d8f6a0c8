"""The benchmark's labelled prompts, one of each kind: no kind may hide behind the sum of all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.attribution_langchain import BUILDERS, Bench


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_nearly_every_token_gets_its_component(build: Callable[[Bench, int], None]) -> None:
    bench = Bench()
    build(bench, 1)
    right = total = 0
    for row in bench.rows():
        right += sum(min(row.event.breakdown[component], tokens) for component, tokens in row.truth.items())
        total += sum(row.truth.values())
    assert right / total > 0.95
