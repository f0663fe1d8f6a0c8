from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tokenwise_core.scoping import Scope, carry_scope, current_scope, scope


def test_an_inner_scope_inherits_what_it_does_not_say() -> None:
    with scope(application="desk", session="s-1", labels={"team": "a", "tier": "x"}):
        with scope(agent="billing", labels={"tier": "y"}) as inner:
            assert inner == Scope(application="desk", session="s-1", agent="billing", labels={"team": "a", "tier": "y"})
        assert current_scope().agent is None


def test_a_scope_ends_with_its_block_even_after_an_error() -> None:
    try:
        with scope(session="s-1"):
            raise RuntimeError
    except RuntimeError:
        pass
    assert current_scope() == Scope()


def test_concurrent_tasks_keep_their_own_scopes() -> None:
    async def session(name: str) -> str | None:
        with scope(session=name):
            await asyncio.sleep(0)
            return current_scope().session

    async def both() -> list[str | None]:
        return await asyncio.gather(session("a"), session("b"))

    assert asyncio.run(both()) == ["a", "b"]


def test_a_plain_thread_pool_loses_the_scope_and_carry_scope_keeps_it() -> None:
    def session() -> str | None:
        return current_scope().session

    with ThreadPoolExecutor(2) as pool:
        pool.submit(session).result()  # the worker threads exist before the scope begins
        with scope(session="s-1"):
            assert pool.submit(session).result() is None
            carried = carry_scope(session)
            assert [f.result() for f in [pool.submit(carried) for _ in range(8)]] == ["s-1"] * 8
