"""`tokenwise demo`: the bundled workload through every installed framework: plain, cached, with memory, and scored."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.progress import Progress, TaskID

from tokenwise_core.analytics.formats import rich_report, rich_table
from tokenwise_core.analytics.report import make_report
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.demo_memory import KEPT, KEPT_UNCACHED, PLAIN, memory_table, read_run, savings_table
from tokenwise_core.cli.demo_tables import answers_table, cache_table, comparison_table, refusals_table
from tokenwise_core.cli.report import PAGE, write_page
from tokenwise_core.cli.terminal import progress, remark, show
from tokenwise_core.demo.caching import WatchedCache, demo_cache
from tokenwise_core.demo.remembering import Memories, demo_memories, long_workload
from tokenwise_core.demo.runner import APPLICATION, DemoAnswer, run_demo
from tokenwise_core.demo.workload import Workload, load_workload
from tokenwise_core.embeddings import CachedEmbedder, SentenceTransformerEmbedder, default_embedder
from tokenwise_core.errors import BadInput, TokenwiseError
from tokenwise_core.protocols import Embedder
from tokenwise_core.scoping import scope
from tokenwise_core.settings import load_settings
from tokenwise_core.testing import REPLAY_PRICES
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.runtime import CALIBRATION_KEY, Runtime, make_runtime
from tokenwise_core.usage.store import Query, Store, open_store

STORE = "sqlite:///tokenwise-demo.sqlite"
CACHE = "tokenwise-demo-cache.sqlite"
WITHOUT, WITH = "without cache", "with cache"
"""The variants under which the two runs are booked: `tokenwise report --by variant`."""
LIBRARY = "sentence-transformers"


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.epilog = (
        f"Without --store and TOKENWISE_STORE, calls are recorded in {STORE.removeprefix('sqlite:///')}; the cache "
        f"begins empty, in {CACHE}. "
        "The replayed models' prices are imaginary; their answers are recorded, the prompts and the counts are real."
    )
    parser.add_argument("--model", metavar="NAME", help="a live model, as init_chat_model names it: openai:gpt-5-mini")
    parser.add_argument(
        "--tier", choices=("cheap", "strong"), default="strong", help="which replayed model (default: strong)"
    )
    parser.add_argument(
        "--framework", action="append", choices=("langchain", "llamaindex"), help="only this one; may be given twice"
    )
    parser.add_argument(
        "--cache", choices=("both", "on", "off"), default="both", help="run without and with it (default), or once"
    )
    parser.add_argument(
        "--memory",
        choices=("on", "off"),
        default="on",
        help="play the long conversations without and with it (default)",
    )
    parser.add_argument(
        "--embedder",
        type=_embedder_name,
        default="default",
        metavar="NAME",
        help=f"default, or {LIBRARY}[:FOLDER] (a folder or a name on the hub; without one all-MiniLM-L6-v2)",
    )
    parser.add_argument("--fresh", action="store_true", help="first delete what earlier demos left in the store")
    parser.add_argument("--output", default=PAGE, metavar="FILE", help=f"the page to write (default: {PAGE})")


def run(arguments: argparse.Namespace) -> int:
    """Run the workload, print what the cache did, the breakdown, the cost and the score, and write the page."""
    if not Path(arguments.output).parent.is_dir():
        raise BadInput(f"cannot write {arguments.output}: there is no such folder")
    settings = load_settings(store=arguments.store)
    store = open_store(settings.store if "store" in settings.model_fields_set else STORE)
    store.get_state(CALIBRATION_KEY)  # a store that cannot be read is told now, not after the run
    if arguments.fresh:
        store.purge(application=APPLICATION)
    prices = PriceBook(overrides=REPLAY_PRICES if arguments.model is None else settings.prices)
    embedder = _embedder(arguments.embedder)
    runtime = make_runtime(store, settings, prices=prices)
    began = time.time()
    without = [] if arguments.cache == "on" else _answers(runtime, arguments, embedder)
    cache = None if arguments.cache == "off" else _empty_cache(embedder, prices)
    with_cache = [] if cache is None else _answers(runtime, arguments, embedder, cache=cache)
    query = Query(since=began, application=APPLICATION, variant=WITHOUT if cache is None else WITH)
    long = () if arguments.memory == "off" else _long(store, query, runtime, arguments, embedder)
    if not runtime.recorder.flush(timeout_s=60):
        remark("some calls are still being written; the report may lack them")
    show(*_findings(store, query, without, with_cache), *long, rich_report(make_report(store, query)))
    write_page(store, query, arguments.output)
    remark(f"recorded in {store.url}: tokenwise report --store {store.url} --by session")
    if cache is not None:
        remark(f"the cache's entries are in {cache.entries.url}")
        cache.close()
    runtime.recorder.close()
    return 0


def _findings(
    store: Store, query: Query, without: Sequence[DemoAnswer], with_cache: Sequence[DemoAnswer]
) -> Iterator[RenderableType]:
    """Yield the tables that the demo adds to a report."""
    yield rich_table(answers_table(without, with_cache))
    if with_cache:
        yield rich_table(cache_table(with_cache, without))
        yield rich_table(refusals_table(with_cache))
    if without and with_cache:
        yield rich_table(comparison_table(store, query, variants=(WITHOUT, WITH)))


def _long(
    store: Store, query: Query, runtime: Runtime, arguments: argparse.Namespace, embedder: Embedder
) -> list[RenderableType]:
    """Play the long conversations without and with memory, and return the tables that tell what that made.

    With the replayed model memory runs a second time, told that nothing is cached: then it cuts earlier.
    """
    whole, prices = load_workload(), runtime.accountant.prices
    workload, replayed, runs = long_workload(whole), arguments.model is None, {}
    longest = max(len(conversation.turns) for conversation in whole.conversations)
    remark(f"conversations of up to {longest} turns are left out with memory: they are too short for it to pay")
    for variant in (PLAIN, KEPT, KEPT_UNCACHED) if replayed else (PLAIN, KEPT):
        memories = None
        if variant != PLAIN:
            caching = variant == KEPT
            memories = demo_memories(embedder=embedder, prices=prices, prompt_cache=caching, replayed=replayed)
        answers = _answers(runtime, arguments, embedder, variant=variant, memories=memories, workload=workload)
        if memories is not None:
            memories.close()
        runtime.recorder.flush(timeout_s=60)
        runs[variant] = read_run(store, query, variant, answers)
    found = [memory_table(runs[PLAIN], runs[KEPT]), savings_table(runs[PLAIN], runs[KEPT])]
    if replayed:
        price = prices.price(f"replay-{arguments.tier}")
        found.insert(1, memory_table(runs[PLAIN], runs[KEPT_UNCACHED], uncached=price))
    return [rich_table(table) for table in found]


def _embedder_name(text: str) -> str:
    if text not in ("default", LIBRARY) and not text.startswith(f"{LIBRARY}:"):
        raise argparse.ArgumentTypeError(f"{text!r}: choose default, {LIBRARY} or {LIBRARY}:FOLDER")
    return text


def _embedder(name: str) -> Embedder:
    """Return the embedder of that name, loaded: what is missing is told now, not by a demo without hits."""
    if name == "default":
        embedder = default_embedder()
    else:
        embedder = CachedEmbedder(SentenceTransformerEmbedder(name.removeprefix(LIBRARY).removeprefix(":") or None))
    embedder.embed(["warm"])
    return embedder


def _empty_cache(embedder: Embedder, prices: PriceBook) -> WatchedCache:
    """Return a cache that knows nothing, what an earlier demo has learnt included."""
    for left in Path().glob(f"{CACHE}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return demo_cache(f"sqlite:///{CACHE}", embedder=embedder, prices=prices)


def _answers(
    runtime: Runtime,
    arguments: argparse.Namespace,
    embedder: Embedder,
    *,
    cache: WatchedCache | None = None,
    variant: str | None = None,
    memories: Memories | None = None,
    workload: Workload | None = None,
) -> list[DemoAnswer]:
    variant = variant or (WITHOUT if cache is None else WITH)
    with progress() as bars, scope(application=APPLICATION, variant=variant):
        try:
            return run_demo(
                runtime,
                cache=cache,
                memories=memories,
                model=arguments.model,
                tier=arguments.tier,
                only=arguments.framework,
                embedder=embedder,
                workload=workload,
                progress=_Bars(bars, variant),
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

    def __init__(self, bars: Progress, variant: str) -> None:
        self._bars, self._variant = bars, variant
        self._start: TaskID | None = bars.add_task("loading frameworks and handbook", total=None)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, path: str, done: int, total: int) -> None:
        if self._start is not None:
            self._bars.remove_task(self._start)
            self._start = None
        if path not in self._tasks:
            self._tasks[path] = self._bars.add_task(f"{path}, {self._variant}", total=total)
            if self._bars.disable:
                remark(f"{path}, {self._variant}: {total} turns")
        self._bars.update(self._tasks[path], completed=done, total=total)
