"""Equal requests in flight: one leads, the others get what it brings."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading

from tokenwise_core.singleflight import SingleFlight


def test_who_comes_first_leads_and_the_others_get_its_value() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = flights.join("k"), flights.join("k")
    assert leader.leads
    assert not follower.leads
    leader.finish("answer")
    assert follower.wait(1) == "answer"


def test_other_keys_fly_apart() -> None:
    flights: SingleFlight[str] = SingleFlight()
    assert flights.join("a").leads
    assert flights.join("b").leads


def test_a_leader_that_fails_lets_another_lead() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = flights.join("k"), flights.join("k")
    leader.fail()
    assert follower.wait(1) is None
    assert flights.join("k").leads


def test_a_call_that_ended_is_not_joined() -> None:
    flights: SingleFlight[str] = SingleFlight()
    flights.join("k").finish("old")
    assert flights.join("k").leads
    assert len(flights) == 1


def test_the_first_end_counts() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = flights.join("k"), flights.join("k")
    leader.finish("one")
    leader.fail()
    leader.finish("two")
    assert follower.wait(1) == "one"


def test_a_follower_cannot_end_the_call() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = flights.join("k"), flights.join("k")
    follower.finish("mine")
    leader.finish("answer")
    assert follower.wait(1) == "answer"


def test_who_waits_too_long_goes_without() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader = flights.join("k")
    assert flights.join("k").wait(0.01) is None
    leader.fail()


async def test_a_task_waits_for_a_thread_and_a_cancelled_one_disturbs_nobody() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader = flights.join("k")
    one, two = flights.join("k"), flights.join("k")
    cancelled = asyncio.create_task(one.await_(5))
    waiting = asyncio.create_task(two.await_(5))
    await asyncio.sleep(0)
    cancelled.cancel()
    threading.Thread(target=leader.finish, args=("answer",)).start()
    assert await waiting == "answer"


async def test_a_task_that_waits_too_long_goes_without() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader = flights.join("k")
    assert await flights.join("k").await_(0.01) is None
    leader.fail()


def test_a_copy_starts_with_nothing_in_flight() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader = flights.join("k")
    assert len(copy.deepcopy(flights)) == 0
    assert len(pickle.loads(pickle.dumps(flights))) == 0
    leader.fail()


def test_a_call_that_depends_on_a_reader_is_not_waited_for_beyond_its_patience() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = flights.join("k"), flights.join("k")
    threading.Timer(0.05, lambda: leader.depends_on_a_reader(0.1)).start()  # said only after the other began to wait
    assert follower.wait(60) is None
    leader.fail()


async def test_a_task_does_not_wait_for_a_reader_beyond_the_patience_either() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader = flights.join("k")
    leader.depends_on_a_reader(0.05)
    assert await flights.join("k").await_(60) is None
    leader.fail()
