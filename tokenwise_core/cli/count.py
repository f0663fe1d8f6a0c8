"""`tokenwise count`: the tokens of a text or a request body, by part, with their price."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenwise_core.cli.arguments import Parser, positive
from tokenwise_core.cli.counted import Counted, CountedRequest, as_json, as_text
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import show, write
from tokenwise_core.errors import BadInput, TokenwiseError
from tokenwise_core.messages import Prompt
from tokenwise_core.settings import load_settings
from tokenwise_core.tokens import Calibration, PromptCount, TokenCounter, analyze_tokenization, detect_api, read_request
from tokenwise_core.tokens.models import UNKNOWN, family_of
from tokenwise_core.usage.attribution import attribute
from tokenwise_core.usage.components import Breakdown, Component
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.reconcile import parts_of
from tokenwise_core.usage.runtime import CALIBRATION_KEY

DEFAULT_MODEL = "gpt-4o"
_REQUEST_KEYS = frozenset(("messages", "input", "contents", "prompt", "instructions", "system", "systemInstruction"))

_LISTS = frozenset(("messages", "tools"))


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a text, or a request body in JSON of any provider; - is stdin")
    parser.add_argument("--model", help=f"count as for this model (default: the request's own, else {DEFAULT_MODEL})")
    parser.add_argument("--per-day", type=positive, metavar="N", help="project N such requests a day: day, month, year")
    parser.add_argument("--analyze", action="store_true", help="tell how densely the text is cut, and into what")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Count the file and print what it holds."""
    text = _read(arguments.file)
    body = _request(text)
    named = body.get("model") if body is not None else None
    model = arguments.model or (named if isinstance(named, str) else None) or DEFAULT_MODEL
    prices = PriceBook(overrides=load_settings().prices)
    if family_of(model) is UNKNOWN and prices.price(model) is None:
        raise BadInput(
            f"unknown model {model!r}: name one that is known with --model (tokenwise prices show lists them)"
        )
    counter = TokenCounter.for_model(model, calibration=_learnt(model, arguments.store))
    counted = _counted(text, body, counter, prices)
    if arguments.analyze:
        shown = text if counted.request is None else "\n".join(m.text for m in counted.request.prompt.messages)
        counted = replace(counted, analysis=analyze_tokenization(shown, model))
    if arguments.json:
        write(json.dumps(as_json(counted, arguments.per_day), indent=2, ensure_ascii=False), None)
    else:
        show(*as_text(counted, arguments.per_day))
    return 0


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {name}: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is no UTF-8 text (byte {error.start})") from error


def _request(text: str) -> Mapping[str, Any] | None:
    """Return the request body that *text* is, or None for a plain text; a bare list of messages is a request too."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, list) and found and all(isinstance(m, dict) and "role" in m for m in found):
        return {"messages": found}
    if not isinstance(found, dict) or not found.keys() & _REQUEST_KEYS:
        return None
    _check(found)
    return found


def _check(body: Mapping[str, Any]) -> None:
    """Complain of what no provider takes: read leniently it would count for nothing."""
    for name in _LISTS & body.keys():
        found = body[name]
        if found is not None and not (isinstance(found, list) and all(isinstance(item, dict) for item in found)):
            raise BadInput(f"no request body: {name!r} must be a list of objects")
    for name in (_REQUEST_KEYS - _LISTS) & body.keys():
        if isinstance(body[name], bool | int | float):
            raise BadInput(f"no request body: {name!r} must be a text, a list or an object")


def _learnt(model: str, url: str | None) -> Calibration:
    """Return what the store has learnt from reported usage, for models whose tokeniser is not public."""
    if family_of(model).template != "estimated":
        return Calibration()
    try:
        with existing_store(url) as store:
            state = store.get_state(CALIBRATION_KEY)
    except TokenwiseError:
        if url is not None:
            raise
        return Calibration()
    return Calibration.from_dict(state) if state else Calibration()


def _counted(text: str, body: Mapping[str, Any] | None, counter: TokenCounter, prices: PriceBook) -> Counted:
    request = None if body is None else _counted_request(read_request(body, detect_api(body)), counter)
    tokens = counter.text(text) if request is None else request.detail.total
    cost = prices.cost(Usage(input_tokens=tokens, input_uncached=tokens, output_tokens=0), model=counter.model)
    return Counted(
        model=counter.model,
        tokens=tokens,
        source=counter.source if request is None else request.detail.source,
        characters=len(text),
        cost_usd=None if cost is None else cost.usd,
        request=request,
    )


def _counted_request(prompt: Prompt, counter: TokenCounter) -> CountedRequest:
    detail = counter.count(prompt)
    return CountedRequest(prompt=prompt, detail=detail, breakdown=_breakdown(prompt, detail, counter))


def _breakdown(prompt: Prompt, detail: PromptCount, counter: TokenCounter) -> Breakdown:
    tokens: dict[Component, int] = {}
    for part in parts_of(prompt, attribute(prompt), detail, counter):
        tokens[part.component] = tokens.get(part.component, 0) + part.tokens
    return Breakdown(tokens=tokens, calls=1, source=detail.source, split=detail.source)
