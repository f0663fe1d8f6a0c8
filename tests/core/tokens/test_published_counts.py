"""Our renderings against prompt sizes that others published after asking OpenAI's API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.tokens.published_values import CL100K, COOKBOOK, TOOLS
from tokenwise_core.tokens import TokenCounter, read_request


@pytest.mark.parametrize(("request_body", "tokens"), CL100K)
def test_a_cl100k_prompt_counts_what_the_api_reported(request_body: dict[str, Any], tokens: int) -> None:
    assert TokenCounter.for_model("gpt-3.5-turbo").count(read_request(request_body, "chat")).total == tokens


def test_tools_of_later_cl100k_models_are_right_or_nearly_so() -> None:
    """Their snapshots differ by a token or two where properties have no description, and show nested ones."""
    counter = TokenCounter.for_model("gpt-35-turbo")
    errors = [counter.count(read_request(body, "chat")).total - tokens for body, tokens in TOOLS]
    assert sum(error == 0 for error in errors) >= 10
    assert all(abs(error) <= 7 for error in errors)


@pytest.mark.parametrize(("model", "request_body", "tokens"), COOKBOOK)
def test_a_prompt_of_the_cookbook_counts_what_the_cookbook_says(
    model: str, request_body: dict[str, Any], tokens: int
) -> None:
    assert TokenCounter.for_model(model).count(read_request(request_body, "chat")).total == tokens
