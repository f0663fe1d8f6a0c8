"""The cache as a whole: what hits, what never does, what a hit tells, and what follows from it."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.core.cache.harness import QUESTION, REPHRASED, Model, answer, asked, make_cache
from tokenwise_core import disable, enable, scope
from tokenwise_core.cache import MemoryEntries, SemanticCache, SQLiteEntries
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Media, Message, ToolCall
from tokenwise_core.testing import FakeClock, HashEmbedder


def test_the_same_question_costs_one_call() -> None:
    cache, model = make_cache(), Model()
    first, second = cache.run(asked(), model), cache.run(asked(), model)
    assert (first.hit, model.calls) == (None, 1)
    assert second.hit is not None
    assert (second.hit.kind, second.answer.text) == ("exact", "Press the button.")
    assert second.hit.saved.tokens == 1000


def test_a_question_that_is_nearly_the_same_text_hits_before_anything_is_learnt() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    served = cache.run(asked(REPHRASED), model)
    assert served.hit is not None
    assert served.hit.kind == "semantic"
    assert served.hit.similarity is not None
    assert served.hit.similarity > 0.97


@pytest.mark.parametrize(
    "other",
    [
        "How do I not reset the password of my account?",
        "How do I reset the password of her account?",
        "How do I reset the 2 passwords of my account?",
        "How do I reset the password of my Visa account?",
    ],
)
def test_a_question_that_differs_by_one_word_is_never_served_by_its_likeness(other: str) -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    assert cache.run(asked(other), model).hit is None


def test_the_same_question_after_another_history_never_hits() -> None:
    cache, model = make_cache(), Model()
    said = Message(role="user", text="I use the app."), Message(role="assistant", text="Good.")
    other = Message(role="user", text="I use the site."), Message(role="assistant", text="Good.")
    cache.run(asked(QUESTION, *said), model)
    cache.flush()
    assert cache.lookup(asked(QUESTION, *other)).hit is None
    assert cache.lookup(asked(REPHRASED, *other)).hit is None
    assert cache.lookup(asked(REPHRASED, *said)).hit is not None


def test_two_users_never_share_an_answer_unless_that_was_chosen() -> None:
    cache, model = make_cache(namespace=lambda s: s.user), Model()
    with scope(user="ada"):
        cache.run(asked(), model)
    cache.flush()
    with scope(user="bob"):
        assert cache.run(asked(), model).hit is None
    with scope(user="ada"):
        assert cache.run(asked(), model).hit is not None


def test_a_scope_that_got_lost_has_no_cache() -> None:
    cache, model = make_cache(namespace=lambda s: s.user), Model()
    with scope(user="ada"), ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            served = pool.submit(cache.run, asked(), model).result()
            assert (served.hit, served.reason) == (None, "no_namespace")
    assert model.calls == 2
    assert not cache.totals()


def test_a_namespace_made_of_a_name_that_nobody_gave_is_none() -> None:
    cache, model = make_cache(namespace=lambda s: f"{s.application}/{s.user}"), Model()
    with scope(application="desk"):
        assert cache.run(asked(), model).reason == "no_namespace"
    with scope(application="desk", user="Nonesuch"):
        assert cache.run(asked(), model).reason == "cold"


@pytest.mark.parametrize("kwargs", [{}, {"namespace": "a", "shared": True}, {"namespace": " "}])
def test_whose_answers_may_be_shared_must_be_chosen(kwargs: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="namespace"):
        SemanticCache(entries=MemoryEntries(), **kwargs)  # type: ignore[arg-type]


def test_a_namespace_that_happens_to_be_called_shared_is_not_the_shared_one() -> None:
    entries, model = MemoryEntries(), Model()
    make_cache(namespace="shared", entries=entries).run(asked(), model)
    assert make_cache(namespace=None, shared=True, entries=entries).run(asked(), model).hit is None


def test_max_error_zero_serves_exact_hits_only() -> None:
    cache, model = make_cache(max_error=0), Model()
    cache.run(asked(), model)
    cache.flush()
    assert cache.run(asked(REPHRASED), model).hit is None
    assert cache.run(asked(), model).hit is not None


def test_a_request_may_only_be_stricter_than_the_cache() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    assert cache.run(asked(REPHRASED, max_error=0), model).hit is None
    strict = make_cache(max_error=0)
    strict.run(asked(), model)
    strict.flush()
    assert strict.run(asked(REPHRASED, max_error=0.5), model).hit is None


def test_without_an_embedder_the_exact_cache_works() -> None:
    cache, model = make_cache(embedder=None), Model()
    cache.run(asked(), model)
    cache.flush()
    assert cache.run(asked(), model).hit is not None
    assert cache.run(asked(REPHRASED), model).reason == "no_embedder"


def test_in_the_shadow_nothing_is_served_and_all_is_counted() -> None:
    cache, model = make_cache(shadow=True), Model()
    for text in (QUESTION, QUESTION, REPHRASED):
        assert cache.run(asked(text), model).hit is None
        cache.flush()
    assert model.calls == 3
    report = cache.shadow_report()
    assert report.would_be == {"exact": 1, "semantic": 1}
    assert (report.judged.right, report.judged.wrong, report.served) == (1, 0, 0)  # of what was found by meaning


def test_a_truncated_answer_is_not_stored() -> None:
    cache = make_cache()
    cache.run(asked(), lambda: answer(finish_reason="length"))
    assert cache.run(asked(), Model()).hit is None
    assert cache.stats().refused == {"truncated": 1}


def test_tool_calls_are_cached_only_where_asked_for_and_then_exactly() -> None:
    def calling() -> object:
        return answer("", tool_calls=True, payload={"tool_calls": [{"name": "f"}]})

    cache = make_cache()
    cache.run(asked(), calling)  # type: ignore[arg-type]
    assert cache.run(asked(), Model()).hit is None
    opted = make_cache(tool_calls=True)
    opted.run(asked(), calling)  # type: ignore[arg-type]
    opted.flush()
    assert opted.run(asked(), Model()).hit is not None
    assert opted.run(asked(REPHRASED), Model()).hit is None


def test_a_turn_after_a_tool_result_is_never_found_by_meaning() -> None:
    call = Message(role="assistant", tool_calls=(ToolCall(name="f", id="1"),))
    request = asked()
    turn = (*asked().prompt.messages, call, Message(role="tool", text="42", tool_call_id="1"))
    request = type(request)(prompt=type(request.prompt)(messages=turn), model="m")
    cache, model = make_cache(), Model()
    assert cache.run(request, model).reason == "unsafe:tool_result"
    assert cache.run(request, model).hit is not None


def test_a_picture_without_a_digest_gets_no_cache() -> None:
    picture = Message(role="user", text="what is it?", media=(Media(kind="image"),))
    cache, model = make_cache(), Model()
    for _ in range(2):
        assert cache.run(asked(QUESTION, picture), model).reason == "unsafe:media"


def test_a_weaker_models_answer_is_not_served_for_a_stronger_one() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(policy="p", capability=0.5), model)
    cache.flush()
    assert cache.lookup(asked(policy="p", capability=0.9)).hit is None
    assert cache.lookup(asked(REPHRASED, policy="p", capability=0.9)).hit is None
    assert cache.lookup(asked(REPHRASED, policy="p", capability=0.4)).hit is not None


def test_an_answer_grows_old() -> None:
    clock = FakeClock()
    cache, model = make_cache(ttl_s=60, clock=clock), Model()
    cache.run(asked(), model)
    clock.advance(30)
    assert cache.run(asked(), model).hit is not None
    clock.advance(31)
    assert cache.run(asked(), model).hit is None


def test_an_answer_about_today_grows_old_in_minutes() -> None:
    clock = FakeClock()
    cache, model = make_cache(clock=clock), Model()
    cache.run(asked("Is the desk open today?"), model)
    clock.advance(301)
    assert cache.run(asked("Is the desk open today?"), model).hit is None


def test_categories_have_lives_of_their_own() -> None:
    clock = FakeClock()
    cache, model = make_cache(clock=clock, ttl_s={"news": 10, None: 1000}), Model()
    cache.run(asked(category="news"), model)
    cache.run(asked("What is a bond?", category="lexicon"), model)
    clock.advance(100)
    assert cache.run(asked(category="news"), model).hit is None
    assert cache.run(asked("What is a bond?", category="lexicon"), model).hit is not None


def test_invalidating_a_tag_kills_all_answers_under_it_and_no_others() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(tags=("doc:1",)), model)
    cache.run(asked("What is a bond?", tags=("doc:2",)), model)
    cache.flush()
    cache.invalidate("doc:1")
    assert cache.run(asked("What is a bond?", tags=("doc:2",)), model).hit is not None
    assert cache.run(asked(tags=("doc:1",)), model).hit is None
    cache.flush()
    assert cache.run(asked(tags=("doc:1",)), model).hit is not None


def test_an_answer_begun_before_an_invalidation_is_not_served_after_it() -> None:
    cache, model = make_cache(), Model()
    ticket = cache.begin(asked(tags=("doc:1",)))
    cache.invalidate("doc:1")
    ticket.complete(answer("about the old document"))
    cache.flush()
    assert cache.run(asked(tags=("doc:1",)), model).hit is None


def test_a_namespaces_epoch_kills_all_of_it() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    cache.invalidate_namespace()
    assert cache.run(asked(), model).hit is None


def test_twenty_equal_calls_at_once_make_one() -> None:
    cache, model = make_cache(), Model(held=True)
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(cache.run, asked(), model) for _ in range(20)]
        while model.calls == 0:
            threading.Event().wait(0.01)
        threading.Event().wait(0.05)
        model.go.set()
        served = [call.result() for call in calls]
    assert model.calls == 1
    assert {s.answer.text for s in served} == {"Press the button."}
    assert sum(s.hit is None for s in served) == 1


async def test_twenty_equal_tasks_at_once_make_one_call() -> None:
    cache, calls = make_cache(), []

    async def model() -> object:
        calls.append(1)
        await asyncio.sleep(0.05)
        return answer()

    served = await asyncio.gather(*(cache.arun(asked(), model) for _ in range(20)))  # type: ignore[arg-type]
    assert len(calls) == 1
    assert sum(s.hit is None for s in served) == 1


def test_when_the_leader_fails_its_error_is_its_own_and_another_leads() -> None:
    cache, model, started = make_cache(), Model(), threading.Event()

    def failing() -> object:
        started.set()
        threading.Event().wait(0.1)
        raise KeyError("provider")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(cache.run, asked(), failing)  # type: ignore[arg-type]
        started.wait(5)
        follower = pool.submit(cache.run, asked(), model)
        with pytest.raises(KeyError):
            leader.result()
        assert follower.result().answer.text == "Press the button."
    assert model.calls == 1


def test_when_the_leaders_answer_cannot_be_shared_the_others_call_side_by_side() -> None:
    cache, together = make_cache(), threading.Barrier(5, timeout=10)
    started = threading.Event()

    def leading() -> object:
        started.set()
        threading.Event().wait(0.1)
        return answer(finish_reason="length")

    def following() -> object:
        together.wait()  # only passes where all five are called at the same time
        return answer(finish_reason="length")

    with ThreadPoolExecutor(6) as pool:
        leader = pool.submit(cache.run, asked(), leading)  # type: ignore[arg-type]
        started.wait(5)
        followers = [pool.submit(cache.run, asked(), following) for _ in range(5)]  # type: ignore[arg-type]
        assert leader.result().hit is None
        assert all(follower.result().hit is None for follower in followers)


async def test_a_cancelled_leader_lets_another_lead() -> None:
    cache = make_cache()

    async def never() -> object:
        await asyncio.sleep(30)
        raise AssertionError

    async def model() -> object:
        return answer()

    leader = asyncio.create_task(cache.arun(asked(), never))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    follower = asyncio.create_task(cache.arun(asked(), model))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    leader.cancel()
    assert (await follower).answer.text == "Press the button."


def test_a_forgotten_ticket_holds_nobody_up() -> None:
    cache, model = make_cache(), Model()
    cache.begin(asked())
    assert cache.run(asked(), model).answer.text == "Press the button."


def test_changing_a_served_answer_changes_nothing_in_the_cache() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    first = cache.lookup(asked()).hit
    assert first is not None
    first.answer.payload["content"] = "changed"  # type: ignore[index]
    again = cache.lookup(asked()).hit
    assert again is not None
    assert again.answer.payload["content"] == "Press the button."


def test_a_hit_can_be_explained() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    hit = cache.run(asked(REPHRASED), model).hit
    assert hit is not None
    told = cache.explain(hit.id)
    assert told is not None
    assert (told.asked, told.stored, told.answer) == (REPHRASED, QUESTION, "Press the button.")
    assert "negation" in told.vetoes_tested
    assert any("cosine" in line for line in told.lines())
    assert "served because: the same words in another spelling" in told.lines()
    assert cache.explain("no such hit") is None


def test_an_answer_that_was_wrong_is_not_served_again() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    hit = cache.run(asked(REPHRASED), model).hit
    assert hit is not None
    assert cache.feedback(hit.id, ok=False)
    assert cache.lookup(asked(REPHRASED)).hit is None
    assert cache.lookup(asked()).hit is not None  # for its own question it was right
    assert not cache.feedback("no such hit", ok=False)


def test_a_wrong_exact_hit_is_deleted() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    hit = cache.run(asked(), model).hit
    assert hit is not None
    assert cache.feedback(hit.id, ok=False)
    assert cache.lookup(asked()).hit is None


def test_hits_misses_and_reasons_are_counted() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.run(asked(), model)
    stats = cache.stats()
    assert (stats.lookups, stats.hits, stats.misses, stats.hit_rate) == (2, {"exact": 1}, {"cold": 1}, 0.5)
    assert stats.saved.tokens == 1000
    assert stats.saved_usd is not None


def test_an_entry_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    model = Model()
    with make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite")) as cache:
        cache.run(asked(), model)
    again = make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite"))
    assert again.run(asked(), model).hit is not None
    assert again.run(asked(REPHRASED), model).hit is not None


def test_two_caches_on_one_store_see_each_others_entries_and_deletions(tmp_path: Path) -> None:
    one, two = (make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite")) for _ in range(2))
    model = Model()
    one.run(asked(), model)
    one.flush()
    assert two.run(asked(), model).hit is not None
    assert two.run(asked(REPHRASED), model).hit is not None
    one.clear()
    two._engine.parts.finder()._refreshed = 0.0  # a second later
    two.lookup(asked("something else"))
    assert two.lookup(asked()).hit is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_opens_the_store_anew(copied, tmp_path: Path) -> None:
    cache, model = make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite")), Model()
    cache.run(asked(), model)
    cache.flush()
    twin = copied(cache)
    twin.ready()
    assert twin.run(asked(), model).hit is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_cache_of_its_own(tmp_path: Path) -> None:
    cache, model = make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite")), Model()
    cache.run(asked(), model)
    cache.flush()
    child = os.fork()
    if child == 0:
        cache.ready()
        hit = cache.lookup(asked()).hit is not None
        cache.put(asked("What does the child ask?"), answer())
        os._exit(0 if hit and cache.flush() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.lookup(asked("What does the child ask?")).hit is not None


def test_when_switched_off_it_is_as_if_there_were_no_cache() -> None:
    cache, model = make_cache(), Model()
    try:
        disable()
        for _ in range(2):
            assert cache.run(asked(), model).reason == "disabled"
    finally:
        enable()
    assert model.calls == 2


def test_many_answers_are_stored_by_hand(tmp_path: Path) -> None:
    cache = make_cache(entries=SQLiteEntries(tmp_path / "c.sqlite"))
    pairs = [(asked(f"What is item number {n}?"), answer(f"It is {n}.")) for n in range(1200)]
    assert cache.warm(pairs, progress=False) == 1200
    assert cache.totals()[0].entries == 1200
    hit = cache.lookup(asked("What is item number 700?")).hit
    assert hit is not None
    assert hit.answer.text == "It is 700."


def test_a_namespace_keeps_to_its_quota() -> None:
    cache = make_cache(max_entries=50)
    cache.warm([(asked(f"What is item number {n}?"), answer(f"It is {n}.")) for n in range(200)], progress=False)
    assert cache.totals()[0].entries <= 50


def test_questions_that_are_nearly_one_text_with_one_answer_are_one_neighbour() -> None:
    cache, model = make_cache(shadow=True), Model()
    for text in (QUESTION, REPHRASED):
        cache.run(asked(text), model)
        cache.flush()
    totals = cache.totals()[0]
    assert (totals.entries, totals.semantic) == (2, 1)


def test_purging_a_user_takes_their_answers_out_of_store_and_memory() -> None:
    cache, model = make_cache(), Model()
    with scope(user="ada"):
        cache.run(asked(), model)
    with scope(user="bob"):
        cache.run(asked("What is a bond?"), model)
    assert cache.purge(user="ada") == 1
    assert cache.lookup(asked()).hit is None
    assert cache.lookup(asked("What is a bond?")).hit is not None


def test_an_embedder_that_is_not_ready_costs_semantic_hits_only() -> None:
    loading = threading.Event()

    class Slow(HashEmbedder):
        def embed(self, texts):
            loading.wait(10)
            return super().embed(texts)

    cache = SemanticCache(namespace="desk", entries=MemoryEntries(), embedder=Slow(), deadline_ms=2_000, explore=0)
    model = Model()
    assert cache.run(asked(), model).reason == "warming"
    assert cache.run(asked(), model).hit is not None
    loading.set()
    assert cache.ready()
    cache.flush()
    assert cache.run(asked(REPHRASED), model).hit is not None


def test_the_same_rephrased_words_are_judged_once_and_served_from_memory() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    first = cache.lookup(asked(REPHRASED)).hit
    cache.entries.candidates = None  # type: ignore[method-assign]  # nobody looks for neighbours again
    again = cache.lookup(asked(REPHRASED)).hit
    assert first is not None
    assert again is not None
    assert (again.kind, again.similarity, again.score) == ("semantic", first.similarity, first.score)
    assert cache.feedback(again.id, ok=False)
    assert cache.lookup(asked(REPHRASED)).hit is None


def test_a_stricter_request_is_not_served_what_a_laxer_one_left_in_memory() -> None:
    cache, model = make_cache(), Model()
    cache.run(asked(), model)
    cache.flush()
    assert cache.lookup(asked(REPHRASED)).hit is not None
    assert cache.lookup(asked(REPHRASED, max_error=0)).hit is None


def test_terms_protected_since_an_entry_was_stored_hold_for_it_too() -> None:
    entries, model = MemoryEntries(), Model()
    make_cache(entries=entries).run(asked("How do I reset the password of the blue account?"), model)
    later = make_cache(entries=entries, protected=("blue",))
    later.flush()
    assert later.lookup(asked("how do I reset the password of the Blue account")).hit is not None
    ticket = later.lookup(asked("How do I reset the password of the account?"))
    assert (ticket.hit, ticket.reason) == (None, "veto:protected")


def test_a_question_that_was_answered_wrongly_is_not_served_by_likeness_again_whoever_else_says_the_same() -> None:
    cache, model = make_cache(merge=None), Model()
    for text in (QUESTION, f"{QUESTION}!", f"{QUESTION}?!"):
        cache.put(asked(text), answer())
    cache.flush()
    hit = cache.lookup(asked(REPHRASED)).hit
    assert hit is not None
    assert hit.kind == "semantic"
    assert cache.feedback(hit.id, ok=False)
    ticket = cache.lookup(asked(REPHRASED))
    assert (ticket.hit, ticket.reason) == (None, "told_wrong")
    ticket.complete(answer("The right one."))
    again = cache.run(asked(REPHRASED), model)
    assert again.hit is not None
    assert again.answer.text == "The right one."


async def test_a_blocking_call_on_the_loops_thread_waits_for_nobody() -> None:
    cache, model = make_cache(), Model()

    async def slow() -> object:
        await asyncio.sleep(0.05)
        return answer()

    awaited = asyncio.create_task(cache.arun(asked(), slow))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert cache.run(asked(), model).answer.text == "Press the button."  # else it would wait for the loop it blocks
    assert model.calls == 1
    await awaited


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_error": 5}, "fraction"),
        ({"vetoes_off": ("numbers",)}, "vetoes_off numbers: there are number"),
        ({"embedder": "all-MiniLM-L6-v2"}, "SentenceTransformerEmbedder"),
        ({"ttl_s": -1}, "ttl_s of all"),
        ({"max_entries": 0}, "max_entries"),
        ({"deadline_ms": 0}, "deadline_ms"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        SemanticCache(**{"namespace": "desk", "entries": "memory://", **wrong})  # type: ignore[arg-type]


def test_one_veto_to_skip_may_be_given_as_a_word() -> None:
    cache, model = make_cache(vetoes_off="number"), Model()
    cache.run(asked("How do I reset hub 2 to the settings of the factory?"), model)
    cache.flush()
    assert cache.lookup(asked("How do I reset hub 3 to the settings of the factory?")).reason != "veto:number"
