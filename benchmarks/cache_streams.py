"""Hit rate and false hits of the semantic cache over streams of questions, beside fixed thresholds, vCache, GPTCache.

An answer is the question's intent, so that two questions of one intent share it; the model is an oracle. A hit is false
where the served answer is not the one that the question has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import cache_peers, cache_prose
from benchmarks.cache_texts import (
    INTENTS,
    OUT_OF_SCOPE,
    Question,
    Run,
    embedder,
    has_out_of_scope,
    in_processes,
    intents,
    uniform,
    zipf,
)
from tokenwise_core.cache import CachedAnswer, CacheRequest, MemoryEntries, SemanticCache
from tokenwise_core.messages import Message, Prompt

REQUESTS = 6_000
SEEDS = 5
DEFAULT, STRICT = 0.05, 0.02
Answers = Callable[[int, Question], str]
"""The model: what it answers to the request at a place of the stream."""


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures of all streams; *full* adds GPTCache through its own package."""
    questions = intents(data_dir)
    if not questions:
        return [_figure(key, None, note=INTENTS) for key in _FLOORS]
    seeds, requests = (1, 600) if quick else (SEEDS, REQUESTS)
    draws = {
        "uniform": [uniform(questions, seed=seed, requests=requests) for seed in range(seeds)],
        "zipf": [zipf(questions, seed=seed, requests=requests) for seed in range(seeds)],
    }
    embedder().learn(question.text for streams in draws.values() for stream in streams for question in stream)
    embedder().learn(cache_prose.Model.of(draws["uniform"][0]).said)
    runs = _all(draws)
    rows = []
    for name, streams in draws.items():
        is_judged = name == "uniform" or has_out_of_scope(questions)
        peers = cache_peers.over(streams, full=full)
        rows += _rates(f"stream.{name}", runs[name, DEFAULT], peers, note=_SEEN, is_judged=is_judged)
    rows += [
        _strict(runs["uniform", STRICT]),
        _bound_held({key: those for key, those in runs.items() if key in _BOUND}),
    ]
    rows += _rates("stream.prose", runs["prose", DEFAULT], {}, note=_PROSE)
    rows += _rates("stream.drift", runs["drift", DEFAULT], {}, note=_DRIFT)
    return rows


_BOUND = [(name, bound) for name in ("uniform", "zipf") for bound in (DEFAULT, STRICT)]


def _all(draws: Mapping[str, Sequence[Sequence[Question]]]) -> dict[tuple[str, float], list[Run]]:
    """Run every stream, in as many processes as there are processors to use."""
    work: list[tuple[tuple[str, float], Callable[[], Run]]] = []
    for name, streams in draws.items():
        for bound in (DEFAULT, STRICT):
            work += [((name, bound), partial(run, stream, max_error=bound)) for stream in streams]
    work += [(("drift", DEFAULT), partial(_drift, stream)) for stream in draws["uniform"][:2]]
    work.append((("prose", DEFAULT), partial(_prose, draws["uniform"][0])))
    found: dict[tuple[str, float], list[Run]] = {}
    for (key, _), done in zip(work, in_processes([call for _, call in work]), strict=True):
        found.setdefault(key, []).append(done)
    return found


def run(
    stream: Sequence[Question],
    *,
    max_error: float,
    answers: Answers = lambda place, question: question.answer,
    is_right: Callable[[str, str], bool] = str.__eq__,
) -> Run:
    """Send *stream* through a new cache; *is_right* compares what was served with what the model would have said."""
    with SemanticCache(
        namespace="streams",
        entries=MemoryEntries(),
        embedder=embedder(),
        max_error=max_error,
        deadline_ms=60_000,
    ) as cache:
        cache.ready()
        return send(cache, stream, answers=answers, is_right=is_right)


def send(
    cache: SemanticCache,
    stream: Sequence[Question],
    *,
    name: str = "stream",
    answers: Answers = lambda place, question: question.answer,
    is_right: Callable[[str, str], bool] = str.__eq__,
) -> Run:
    """Send *stream* through *cache*, one request after the other; streams of other *name*s share no entry."""
    kinds: Counter[str] = Counter()
    wrong = 0
    for place, question in enumerate(stream):
        answer = answers(place, question)
        ticket = cache.lookup(asked(question.text, name))
        if ticket.hit is None:
            ticket.complete(CachedAnswer(text=answer))
            cache.flush()  # the next request finds what this one has left
        else:
            kinds[ticket.hit.kind] += 1
            wrong += not is_right(ticket.hit.answer.text, answer)
    return Run(requests=len(stream), hits=kinds.total(), wrong=wrong, exact=kinds["exact"])


def asked(text: str, name: str) -> CacheRequest:
    return CacheRequest(
        prompt=Prompt(messages=(Message(role="user", text=text),)), model="oracle", extra={"stream": name}
    )


def _prose(stream: Sequence[Question]) -> Run:
    """Run a stream whose answers are prose: another phrasing each time, the same content for an intent."""
    model = cache_prose.Model.of(stream)
    return run(stream, max_error=DEFAULT, answers=cache_prose.answer, is_right=model.is_same)


def _drift(stream: Sequence[Question]) -> Run:
    """Run a stream in which, from half-way on, every second intent has a new answer."""
    changed = set(sorted({question.answer for question in stream})[::2])
    half = len(stream) // 2

    def answer(place: int, question: Question) -> str:
        return f"{question.answer} v2" if place >= half and question.answer in changed else question.answer

    return run(stream, max_error=DEFAULT, answers=answer)


_SEEN = (
    "features, prior and limits were chosen by hand with Banking77 in sight (whole, 20 of its intents alone, "
    "10 of its intents as oos)"
)
_PROSE = "answers in six phrasings an intent, compared by numbers, names and embedding only"
_DRIFT = "from half-way on every second intent has another answer; the cache is told nothing"


def _rates(
    key: str, runs: Sequence[Run], peers: Mapping[str, Sequence[Run] | str], *, note: str = "", is_judged: bool = True
) -> list[dict[str, Any]]:
    exact = mean(run.exact / max(run.requests, 1) for run in runs)
    worst = max(run.false_hit_rate for run in runs)
    remarks = [note] if note else []
    remarks.append(f"{len(runs)} seeds; exact repeats {exact:.3f} of the requests; worst false-hit rate {worst:.4f}")
    if not is_judged:
        remarks.append(f"reported only: this set has no rows of intent {OUT_OF_SCOPE}")
    return [
        _figure(
            f"{key}.{name}",
            mean(measure(run) for run in runs),
            peers={peer: _mean(measure, those) for peer, those in peers.items()},
            n=sum(run.requests for run in runs),
            note="; ".join(remarks),
            is_judged=is_judged,
        )
        for name, measure in _MEASURES.items()
    ]


def _mean(measure: Callable[[Run], float], runs: Sequence[Run] | str) -> float | str:
    return runs if isinstance(runs, str) else mean(measure(run) for run in runs)


def _strict(runs: Sequence[Run]) -> dict[str, Any]:
    note = f"max_error={STRICT}; false-hit rate {mean(run.false_hit_rate for run in runs):.4f}"
    return _figure(
        "stream.uniform.hit_rate@02",
        mean(run.hit_rate for run in runs),
        n=sum(run.requests for run in runs),
        note=note,
    )


def _bound_held(runs: Mapping[tuple[str, float], Sequence[Run]]) -> dict[str, Any]:
    held = [float(run.false_hit_rate <= bound) for (_, bound), those in runs.items() for run in those]
    worst = {bound: max(run.false_hit_rate for (_, at), those in runs.items() if at == bound for run in those)
             for bound in (STRICT, DEFAULT)}  # fmt: skip
    note = "; ".join(f"max_error={bound}: worst {rate:.4f}" for bound, rate in worst.items())
    return _figure("stream.bound_held", mean(held), n=len(held), note=note)


_MEASURES: Mapping[str, Callable[[Run], float]] = {
    "hit_rate": lambda run: run.hit_rate,
    "false_hit_rate": lambda run: run.false_hit_rate,
}
_FLOORS: Mapping[str, tuple[float | None, float | None]] = {
    "stream.uniform.hit_rate": (0.45, 0.50),
    "stream.uniform.false_hit_rate": (0.015, 0.010),
    "stream.uniform.hit_rate@02": (0.20, 0.30),
    "stream.zipf.hit_rate": (0.58, 0.62),
    "stream.zipf.false_hit_rate": (0.006, 0.004),
    "stream.bound_held": (0.95, 0.95),
    "stream.prose.hit_rate": (None, None),
    "stream.prose.false_hit_rate": (None, None),
    "stream.drift.hit_rate": (None, None),
    "stream.drift.false_hit_rate": (None, None),
}


def _figure(
    key: str,
    ours: float | None,
    *,
    peers: Mapping[str, float | str] | None = None,
    n: int = 0,
    note: str = "",
    is_judged: bool = True,
) -> dict[str, Any]:
    must, goal = _FLOORS[key] if is_judged else (None, None)
    return {
        "area": "cache",
        "key": key,
        "ours": ours,
        "must": must,
        "goal": goal,
        "unit": "fraction",
        "better": "lower" if key.endswith("false_hit_rate") else "higher",
        "peers": dict(peers or {}),
        "n": n,
        "note": note,
    }
