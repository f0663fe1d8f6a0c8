"""`tokenwise demo`: the bundled workload through every installed framework, recorded, scored and reported."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.progress import Progress, TaskID

from tokenwise_core.analytics.formats import rich_report, rich_table
from tokenwise_core.analytics.notation import count, share
from tokenwise_core.analytics.report import make_report
from tokenwise_core.analytics.tables import Table
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.report import PAGE, write_page
from tokenwise_core.cli.terminal import progress, remark, show
from tokenwise_core.demo.runner import APPLICATION, DemoAnswer, Score, run_demo, score
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.errors import BadInput, TokenwiseError
from tokenwise_core.scoping import scope
from tokenwise_core.settings import Settings, load_settings
from tokenwise_core.testing import REPLAY_PRICES
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.runtime import CALIBRATION_KEY, Runtime, make_runtime
from tokenwise_core.usage.store import Query, open_store

STORE = "sqlite:///tokenwise-demo.sqlite"


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.epilog = (
        f"Without --store and TOKENWISE_STORE, calls are recorded in {STORE.removeprefix('sqlite:///')}. "
        "The replayed models' prices are imaginary; their answers are recorded, the prompts and the counts are real."
    )
    parser.add_argument("--model", metavar="NAME", help="a live model, as init_chat_model names it: openai:gpt-5-mini")
    parser.add_argument(
        "--tier", choices=("cheap", "strong"), default="strong", help="which replayed model (default: strong)"
    )
    parser.add_argument(
        "--framework", action="append", choices=("langchain", "llamaindex"), help="only this one; may be given twice"
    )
    parser.add_argument("--fresh", action="store_true", help="first delete what earlier demos left in the store")
    parser.add_argument("--output", default=PAGE, metavar="FILE", help=f"the page to write (default: {PAGE})")


def run(arguments: argparse.Namespace) -> int:
    """Run the workload, print the breakdown, the cost and the score, and write the page."""
    if not Path(arguments.output).parent.is_dir():
        raise BadInput(f"cannot write {arguments.output}: there is no such folder")
    settings = load_settings(store=arguments.store)
    store = open_store(settings.store if "store" in settings.model_fields_set else STORE)
    store.get_state(CALIBRATION_KEY)  # a store that cannot be read is told now, not after the run
    if arguments.fresh:
        store.purge(application=APPLICATION)
    runtime = make_runtime(store, settings, prices=_prices(settings, arguments.model))
    began = time.time()
    answers = _answers(runtime, arguments)
    if not runtime.recorder.flush(timeout_s=60):
        remark("some calls are still being written; the report may lack them")
    query = Query(since=began, application=APPLICATION)
    show(_score_table(score(answers, load_workload())), rich_report(make_report(store, query)))
    write_page(store, query, arguments.output)
    remark(f"recorded in {store.url}: tokenwise report --store {store.url} --by session")
    runtime.recorder.close()
    return 0


def _prices(settings: Settings, model: str | None) -> PriceBook:
    return PriceBook(overrides=REPLAY_PRICES if model is None else settings.prices)


def _answers(runtime: Runtime, arguments: argparse.Namespace) -> list[DemoAnswer]:
    with progress() as bars, scope(application=APPLICATION):
        try:
            return run_demo(
                runtime,
                model=arguments.model,
                tier=arguments.tier,
                only=arguments.framework,
                progress=_Bars(bars),
            )
        except TokenwiseError:
            raise
        except Exception as error:
            if arguments.model is None:
                raise
            lines = str(error).strip().splitlines() or [""]  # a provider's own error: no key, no such model, no network
            raise BadInput(f"the live model {arguments.model} failed: {type(error).__name__}: {lines[0]}") from error


class _Bars:
    """One bar a path; where there is no terminal, one line a path."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._start: TaskID | None = bars.add_task("loading frameworks, handbook and embedder", total=None)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, path: str, done: int, total: int) -> None:
        if self._start is not None:
            self._bars.remove_task(self._start)
            self._start = None
        if path not in self._tasks:
            self._tasks[path] = self._bars.add_task(path, total=total)
            if self._bars.disable:
                remark(f"{path}: {total} turns")
        self._bars.update(self._tasks[path], completed=done, total=total)


def _score_table(scores: Sequence[Score]) -> Group:
    rows = [
        (f"{s.framework} {s.path}", count(s.turns), count(s.answerable), count(s.right), share(s.right, s.answerable))
        for s in scores
    ]
    return rich_table(Table(title="Answers", columns=("path", "turns", "answerable", "right", "share"), rows=rows))
