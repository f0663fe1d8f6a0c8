"""How good the demo's answers were, and what the cache had to do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenwise_core.demo.caching import Decision
from tokenwise_core.demo.runner import DemoAnswer
from tokenwise_core.demo.workload import Turn, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Answers of one path: how many turns, how many of the answerable ones stated every expected fact."""

    framework: str
    path: str
    turns: int
    answerable: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheScore:
    """What the cache did on one path.

    *hits* by kind; *refused* are questions for which a stored answer was at hand that was not given; *look_alikes* the
    questions that were written to be confused with another. A hit is *wrong* where the answer lacks an expected fact
    and the model itself, asked without the cache, had said all of them.
    """

    framework: str
    path: str
    asked: int
    hits: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    look_alikes: int = 0
    wrong: int = 0
    wrong_look_alikes: int = 0


def score(answers: Sequence[DemoAnswer], workload: Workload) -> list[Score]:
    """Count, for each path, the answers that state every expected fact in one of its wordings."""
    turns = turns_of(workload)
    scores = []
    for (framework, path), mine in _by_path(answers).items():
        answerable = [a for a in mine if turns[a.turn].answerable]
        right = sum(turns[a.turn].is_said_by(a.text) for a in answerable)
        scores.append(Score(framework=framework, path=path, turns=len(mine), answerable=len(answerable), right=right))
    return scores


def cache_scores(
    answers: Sequence[DemoAnswer], workload: Workload, *, without: Sequence[DemoAnswer] = ()
) -> list[CacheScore]:
    """Count, for each path, what the cache served and refused; *without* are the answers of the run without it."""
    wrong = {id(answer) for answer in wrong_hits(answers, workload, without=without)}
    turns = turns_of(workload)
    scores = []
    for (framework, path), mine in _by_path(answers).items():
        alike = [a for a in mine if turns[a.turn].unlike is not None]
        decisions = [decision for a in mine for decision in a.decisions]
        scores.append(
            CacheScore(
                framework=framework,
                path=path,
                asked=len(decisions),
                hits=Counter(decision.kind for decision in decisions if decision.kind is not None),
                refused=sum(decision.is_refusal for decision in decisions),
                look_alikes=len(alike),
                wrong=sum(id(a) in wrong for a in mine),
                wrong_look_alikes=sum(id(a) in wrong for a in alike),
            )
        )
    return scores


def wrong_hits(
    answers: Iterable[DemoAnswer], workload: Workload, *, without: Iterable[DemoAnswer] = ()
) -> list[DemoAnswer]:
    """Return the answers from the cache that lack an expected fact, unless the model without it had lacked one, too."""
    turns = turns_of(workload)
    spared = {(a.framework, a.path, a.turn) for a in without if not turns[a.turn].is_said_by(a.text)}
    return [
        a
        for a in answers
        if a.is_served and (a.framework, a.path, a.turn) not in spared and not turns[a.turn].is_said_by(a.text)
    ]


def refusals(answers: Iterable[DemoAnswer]) -> dict[str, list[Decision]]:
    """Return the questions that were not served though an answer was at hand, by reason, the most frequent first.

    Of each, those nearest to the stored question come first.
    """
    found: dict[str, list[Decision]] = {}
    for decision in (decision for answer in answers for decision in answer.decisions if decision.is_refusal):
        found.setdefault(decision.reason or "", []).append(decision)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {reason: sorted(same, key=lambda d: -(d.similarity or 0)) for reason, same in ordered}


def right_by_session(answers: Iterable[DemoAnswer], workload: Workload) -> dict[str, tuple[int, int]]:
    """Return for each session how many answers state every expected fact, and how many questions have any."""
    turns = turns_of(workload)
    found: dict[str, tuple[int, int]] = {}
    for answer in answers:
        turn, name = turns[answer.turn], f"{answer.conversation} {answer.framework} {answer.path}"
        if turn.answerable and turn.facts:
            right, asked = found.get(name, (0, 0))
            found[name] = right + turn.is_said_by(answer.text), asked + 1
    return found


def turns_of(workload: Workload) -> dict[str, Turn]:
    """Return all turns by id, those of the long conversations too."""
    return {turn.id: turn for talk in (*workload.conversations, *workload.long) for turn in talk.turns}


def _by_path(answers: Iterable[DemoAnswer]) -> dict[tuple[str, str], list[DemoAnswer]]:
    found: dict[tuple[str, str], list[DemoAnswer]] = {}
    for answer in sorted(answers, key=lambda a: (a.framework, a.path)):
        found.setdefault((answer.framework, answer.path), []).append(answer)
    return found
