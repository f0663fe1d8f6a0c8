"""What every store of sessions must do: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import postgres_server
from tests.sessions import NOW, emptied, flip, make_item, sessions_database, texts
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory.sessions import Codec, LogItem, Owner, SessionBusy, Sessions, StoredView, open_sessions
from tokenwise_core.testing import FakeClock

__all__ = ["postgres_server", "sessions_database"]  # fixtures

ODD = ["a", "", "é", "\0", "\ud800", '"', '"a"', "x" * 500]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sessions.db'}"
    return emptied(request.getfixturevalue("sessions_database"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def sessions(url: str, clock: FakeClock) -> Iterator[Sessions]:
    opened = open_sessions(url, clock=clock)
    yield opened
    opened.close()


class TestLogs:
    def test_items_are_read_in_the_order_of_appending(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(2), make_item(1)])
        sessions.append("s", [make_item(0)])
        rows = sessions.read("s")
        assert [(row.id, row.data, row.at) for row in rows] == [
            (item.id, item.data, item.at) for item in map(make_item, (2, 1, 0))
        ]
        assert [row.seq for row in rows] == sorted({row.seq for row in rows})
        assert sessions.read("s", after=rows[1].seq) == rows[2:]
        assert sessions.length("s") == 3

    def test_an_item_is_appended_once_by_its_id(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1), make_item(2)])
        sessions.append("s", [make_item(2, text="retried"), make_item(3), make_item(3, text="twice in a batch")])
        assert texts(sessions.read("s")) == ["text 1", "text 2", "text 3"]
        assert sessions.length("s") == 3

    def test_sessions_do_not_see_each_other(self, sessions: Sessions) -> None:
        for name in ODD:
            sessions.append(name, [make_item(1, text=f"of {name}")])
        assert [texts(sessions.read(name)) for name in ODD] == [[f"of {name}"] for name in ODD]
        assert {info.session for info in sessions.sessions()} == set(ODD)

    @pytest.mark.parametrize("id", ODD)
    def test_any_text_is_an_id_and_a_text(self, sessions: Sessions, id: str) -> None:
        data = {"text": id, "": [None, True, 1, 2.5, {id: id}], "v": 9, "data": "mine"}
        sessions.append("s", [LogItem(id=id, data=data, at=NOW)])
        sessions.append("s", [LogItem(id=id, data={}, at=NOW)])
        [row] = sessions.read("s")
        assert (row.id, row.data) == (id, data)

    def test_many_items_are_appended_at_once(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(i) for i in range(1_200)])
        sessions.append("s", [make_item(i) for i in range(600, 1_300)])
        assert [row.id for row in sessions.read("s")] == [f"m{i}" for i in range(1_300)]

    def test_an_unknown_session_is_empty(self, sessions: Sessions) -> None:
        assert (sessions.read("s"), sessions.length("s"), sessions.view("s"), sessions.results("s")) == (
            [],
            0,
            None,
            {},
        )
        assert sessions.original("s", "x") is None
        assert (sessions.changes("s").epoch, sessions.changes("s").replaced) == (0, False)
        sessions.append("s", [])
        sessions.clear("s")
        sessions.release("s", "b", "h")
        sessions.forget("s", ["b"])
        assert sessions.sessions() == []

    def test_what_is_no_json_is_refused_and_nothing_of_its_batch_is_kept(self, sessions: Sessions) -> None:
        for bad in (object(), float("nan"), {1, 2}):
            with pytest.raises(BadInput):
                sessions.append("s", [make_item(1), LogItem(id="x", data={"x": bad}, at=NOW)])
            with pytest.raises(BadInput):
                sessions.save_view("s", {"x": bad}, expected=0)
        assert sessions.sessions() == []

    def test_what_is_returned_is_the_callers_own(self, sessions: Sessions) -> None:
        data: dict[str, Any] = {"parts": [1]}
        sessions.append("s", [LogItem(id="x", data=data, at=NOW)])
        data["parts"].append(2)
        sessions.read("s")[0].data["parts"].append(3)
        assert sessions.read("s")[0].data == {"parts": [1]}


class TestChanges:
    def test_a_reader_is_told_what_is_new_and_nothing_twice(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1), make_item(2)])
        first = sessions.changes("s")
        assert (texts(first.rows), first.replaced) == (["text 1", "text 2"], True)
        assert first.last_seq == first.rows[-1].seq
        same = sessions.changes("s", after=first.last_seq, epoch=first.epoch)
        assert (same.rows, same.replaced, same.epoch, same.last_seq) == ((), False, first.epoch, first.last_seq)
        sessions.append("s", [make_item(3)])
        new = sessions.changes("s", after=first.last_seq, epoch=first.epoch)
        assert (texts(new.rows), new.replaced, new.epoch) == (["text 3"], False, first.epoch)

    @pytest.mark.parametrize("how", ["replace", "clear", "purge", "clear twice"])
    def test_a_reader_of_a_log_that_was_replaced_is_given_the_whole_of_the_new_one(
        self, sessions: Sessions, how: str
    ) -> None:
        sessions.append("s", [make_item(i) for i in range(5)])
        before = sessions.changes("s")
        if how == "replace":
            sessions.replace("s", [make_item(7), make_item(8)])
        else:
            for _ in range(2 if how == "clear twice" else 1):
                _ = sessions.purge(session="s") if how == "purge" else sessions.clear("s")
                gone = sessions.changes("s", after=before.last_seq, epoch=before.epoch)
                assert (gone.replaced, gone.rows, gone.epoch) == (True, (), 0)
                sessions.append("s", [make_item(7), make_item(8)])
        after = sessions.changes("s", after=before.last_seq, epoch=before.epoch)
        assert after.replaced
        assert after.epoch != before.epoch
        assert texts(after.rows) == ["text 7", "text 8"]

    def test_seqs_are_not_used_again_after_a_replacement(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1), make_item(2)])
        last = sessions.changes("s").last_seq
        sessions.replace("s", [make_item(1), make_item(2), make_item(1, text="twice")])
        assert texts(sessions.read("s", after=last)) == ["text 1", "text 2"]
        assert sessions.length("s") == 2
        sessions.append("s", [make_item(2), make_item(3)])
        assert texts(sessions.read("s")) == ["text 1", "text 2", "text 3"]

    def test_a_replacement_leaves_what_was_derived(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1)])
        sessions.save_view("s", {"x": 1}, expected=0)
        sessions.keep("s", "t", "long")
        sessions.lease("s", "b", holder="h", seconds=5)
        sessions.finish("s", "b", "h", {"y": 2})
        sessions.replace("s", [])
        assert (sessions.length("s"), sessions.read("s")) == (0, [])
        assert sessions.view("s") == StoredView(version=1, data={"x": 1})
        assert (sessions.results("s"), sessions.original("s", "t")) == ({"b": {"y": 2}}, "long")

    def test_clearing_forgets_all_of_one_session_and_nothing_of_another(self, sessions: Sessions) -> None:
        for name in ("s", "other"):
            sessions.append(name, [make_item(1)], owner=Owner(user="u"))
            sessions.save_view(name, {"x": 1}, expected=0)
            sessions.keep(name, "t", "long")
            for block in ("a", "b"):
                sessions.lease(name, block, holder="h", seconds=5)
            sessions.finish(name, "b", "h", {"y": 2})
        kept = sessions.sessions()[0]
        sessions.clear("s")
        assert (sessions.length("s"), sessions.view("s"), sessions.results("s")) == (0, None, {})
        assert sessions.original("s", "t") is None
        assert not sessions.finish("s", "a", "h", {"late": True})
        assert [info.session for info in sessions.sessions()] == ["other"]
        sessions.append("s", [make_item(1)])
        assert sessions.purge(user="u") == 1
        assert kept.owners == (Owner(user="u"),)


class TestViews:
    def test_a_view_is_saved_only_over_the_version_that_was_read(self, sessions: Sessions) -> None:
        assert not sessions.save_view("s", {"x": 0}, expected=1)
        assert sessions.sessions() == []
        assert sessions.save_view("s", {"x": 1}, expected=0)
        assert not sessions.save_view("s", {"x": 2}, expected=0)
        assert sessions.save_view("s", {"x": 3}, expected=1)
        assert not sessions.save_view("s", {"x": 4}, expected=1)
        assert sessions.view("s") == StoredView(version=2, data={"x": 3})

    def test_of_many_writers_of_one_version_one_wins(self, sessions: Sessions) -> None:
        sessions.save_view("s", {}, expected=0)
        for version in range(1, 6):
            with ThreadPoolExecutor(4) as pool:
                won = list(pool.map(lambda i: sessions.save_view("s", {"i": i}, expected=version), range(4)))  # noqa: B023
            assert sum(won) == 1
            assert sessions.view("s") == StoredView(version=version + 1, data={"i": won.index(True)})


class TestSummaries:
    def test_a_block_is_leased_to_one_until_the_lease_ends(self, sessions: Sessions, clock: FakeClock) -> None:
        assert sessions.lease("s", "b", holder="one", seconds=10)
        assert not sessions.lease("s", "b", holder="two", seconds=10)
        assert sessions.lease("s", "other", holder="two", seconds=10)
        clock.advance(9)
        assert sessions.lease("s", "b", holder="one", seconds=10)  # renewed
        clock.advance(9)
        assert not sessions.lease("s", "b", holder="two", seconds=10)
        clock.advance(1)
        assert sessions.lease("s", "b", holder="two", seconds=10)
        assert not sessions.lease("s", "b", holder="one", seconds=10)
        assert sessions.results("s") == {}

    def test_a_summary_stands_and_is_not_leased_again(self, sessions: Sessions, clock: FakeClock) -> None:
        sessions.lease("s", "b", holder="one", seconds=10)
        assert sessions.finish("s", "b", "one", {"text": "short"})
        assert sessions.finish("s", "b", "one", {"text": "again"})  # a retry is no harm
        assert not sessions.finish("s", "b", "two", {"text": "another"})
        clock.advance(99)
        assert not sessions.lease("s", "b", holder="one", seconds=10)
        assert not sessions.finish("s", "b", "two", {"text": "another"})
        assert sessions.results("s") == {"b": {"text": "short"}}

    def test_only_the_holder_finishes_until_the_lease_has_ended(self, sessions: Sessions, clock: FakeClock) -> None:
        sessions.lease("s", "b", holder="one", seconds=10)
        assert not sessions.finish("s", "b", "two", {})
        clock.advance(10)
        assert sessions.lease("s", "b", holder="two", seconds=10)
        assert not sessions.finish("s", "b", "one", {"late": True})
        clock.advance(10)
        assert sessions.finish("s", "b", "one", {"late": True})  # nobody else is at it any more
        assert not sessions.finish("s", "b", "two", {"later": True})
        assert sessions.results("s") == {"b": {"late": True}}

    def test_a_lease_that_was_given_up_is_free(self, sessions: Sessions) -> None:
        sessions.lease("s", "b", holder="one", seconds=10)
        sessions.release("s", "b", "two")
        assert not sessions.lease("s", "b", holder="two", seconds=10)
        sessions.release("s", "b", "one")
        assert not sessions.finish("s", "b", "one", {})
        assert sessions.lease("s", "b", holder="two", seconds=10)
        sessions.finish("s", "b", "two", {"x": 1})
        sessions.release("s", "b", "two")
        assert sessions.results("s") == {"b": {"x": 1}}

    def test_what_was_committed_is_forgotten(self, sessions: Sessions) -> None:
        for block in ("a", "b", "c\0"):
            sessions.lease("s", block, holder="h", seconds=10)
            sessions.finish("s", block, "h", {"of": block})
        sessions.forget("s", ["a", "c\0", "nothing"])
        sessions.forget("s", [])
        assert sessions.results("s") == {"b": {"of": "b"}}
        assert sessions.lease("s", "a", holder="h", seconds=10)

    def test_of_many_who_want_a_block_one_gets_it(self, sessions: Sessions) -> None:
        for block in map(str, range(5)):
            with ThreadPoolExecutor(4) as pool:
                got = list(
                    pool.map(lambda i: sessions.lease("s", block, holder=str(i), seconds=60), range(4))  # noqa: B023
                )
            assert sum(got) == 1


class TestOriginals:
    @pytest.mark.parametrize("id", ODD)
    def test_an_original_comes_back_and_the_newest_counts(self, sessions: Sessions, id: str) -> None:
        sessions.keep("s", id, "old")
        sessions.keep("s", id, f"long {id}")
        sessions.keep("other", id, "theirs")
        assert sessions.original("s", id) == f"long {id}"
        assert sessions.original("s", "another" + id) is None


class TestTurns:
    def test_turns_of_one_session_do_not_overlap(self, sessions: Sessions) -> None:
        inside, most = 0, []

        def turn(i: int) -> None:
            nonlocal inside
            with sessions.turn("s"):
                inside += 1
                most.append(inside)
                n = len(sessions.read("s"))
                time.sleep(0.001)
                sessions.append("s", [make_item(i, text=str(n))])
                inside -= 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(turn, range(24)))
        assert set(most) == {1}
        assert texts(sessions.read("s")) == [str(n) for n in range(24)]

    def test_turns_of_two_sessions_do_not_wait_for_each_other(self, sessions: Sessions) -> None:
        with sessions.turn("s"), sessions.turn("other", timeout_s=0.5):
            pass

    def test_who_waits_too_long_is_told_so(self, sessions: Sessions, url: str) -> None:
        other = sessions if url == "memory://" else open_sessions(url, clock=FakeClock(NOW))
        with sessions.turn("s"):
            for waiting in (sessions, other):
                with pytest.raises(SessionBusy) as caught, waiting.turn("s", timeout_s=0.02):
                    raise AssertionError
                assert caught.value.session == "s"
                assert isinstance(caught.value, StoreError)
        with other.turn("s", timeout_s=0.5):
            pass
        other.close()

    def test_a_turn_that_fails_is_over(self, sessions: Sessions) -> None:
        with pytest.raises(ZeroDivisionError), sessions.turn("s"):
            raise ZeroDivisionError
        with sessions.turn("s", timeout_s=0.5):
            pass

    def test_a_turn_whose_holder_was_killed_ends_by_itself(self, sessions: Sessions, url: str) -> None:
        if url == "memory://":
            pytest.skip("nobody outlives memory")
        later = open_sessions(url, clock=FakeClock(NOW + 4))
        with sessions.turn("s", lease_s=5.0), pytest.raises(SessionBusy), later.turn("s", timeout_s=0.02):
            raise AssertionError
        with sessions.turn("s", lease_s=3.0), later.turn("s", timeout_s=0.5, lease_s=5.0):
            pass
        later.close()


class TestLookingAfter:
    def _fill(self, sessions: Sessions, clock: FakeClock) -> None:
        owners = [
            Owner(application="desk", user="ann"), Owner(application="desk", user="bob"), Owner(user="ann"),
            Owner(application="\0", user='"\ud800'), None,
        ]  # fmt: skip
        for i, owner in enumerate(owners):
            sessions.append(f"s{i}", [make_item(1)], owner=owner)
            sessions.keep(f"s{i}", "t", "long", owner=owner)
            clock.advance(10)
        sessions.save_view("s0", {}, expected=0, owner=Owner(application="shop", user="eve"))  # shared by two

    @pytest.mark.parametrize(
        ("names", "gone"),
        [
            ({"session": "s1"}, {1}),
            ({"user": "ann"}, {0, 2}),
            ({"user": "ann", "application": "desk"}, {0}),
            ({"user": "eve"}, {0}),
            ({"user": "ann", "application": "shop"}, set()),
            ({"application": "desk"}, {0, 1}),
            ({"application": "desk", "session": "s1"}, {1}),
            ({"application": "desk", "session": "s4"}, set()),
            ({"user": '"\ud800'}, {3}),
            ({"before": NOW + 10}, set()),
            ({"before": NOW + 20.5}, {1, 2}),
            ({"before": NOW + 20.5, "user": "ann"}, {2}),
            ({"user": "nobody"}, set()),
        ],
    )
    def test_a_purge_reaches_what_matches_and_nothing_else(
        self, sessions: Sessions, clock: FakeClock, names: dict[str, Any], gone: set[int]
    ) -> None:
        self._fill(sessions, clock)
        assert sessions.purge(**names) == len(gone)
        assert {info.session for info in sessions.sessions()} == {f"s{i}" for i in range(5) if i not in gone}
        assert {i for i in range(5) if sessions.original(f"s{i}", "t") is None} == gone
        assert {i for i in range(5) if not sessions.read(f"s{i}")} == gone

    def test_a_purge_of_a_session_reaches_what_derives_from_it(self, sessions: Sessions) -> None:
        kept = ("other", "sm|graph", "S|graph", "tenant:s", "s-2", "graph|s", "s%|graph")
        for name in ("s", "s|graph|inner", "s|summary", *kept):
            sessions.append(name, [make_item(1)])
        assert sessions.purge(session="s") == 3
        assert {info.session for info in sessions.sessions()} == set(kept)
        assert sessions.purge(session="s%") == 1

    def test_a_purge_of_many_is_whole(self, sessions: Sessions) -> None:
        for i in range(45):
            sessions.append(f"s{i}", [make_item(1)], owner=Owner(user="u"))
        assert sessions.purge(user="u") == 45
        assert sessions.stats().items == 0

    @pytest.mark.parametrize("names", [{}, {"user": ""}, {"application": "", "session": "s"}])
    def test_a_purge_names_somebody(self, sessions: Sessions, names: dict[str, str]) -> None:
        with pytest.raises(BadInput):
            sessions.purge(**names)

    def test_sessions_are_listed_the_last_changed_first(self, sessions: Sessions, clock: FakeClock) -> None:
        self._fill(sessions, clock)
        sessions.lease("s4", "b", holder="h", seconds=5)
        sessions.finish("s4", "b", "h", {})
        listed = sessions.sessions()
        assert [info.session for info in listed] == ["s0", "s4", "s3", "s2", "s1"]
        assert (listed[1].items, listed[1].summaries, listed[1].originals) == (1, 1, 1)
        assert (listed[1].created_at, listed[1].changed_at) == (NOW + 40, NOW + 50)
        assert listed[0].owners == (Owner(application="desk", user="ann"), Owner(application="shop", user="eve"))
        assert [info.owners for info in listed[1:3]] == [(), (Owner(application="\0", user='"\ud800'),)]
        assert sessions.sessions(limit=2, offset=1) == listed[1:3]

    def test_totals_count_what_is_there(self, sessions: Sessions) -> None:
        assert sessions.stats().sessions == sessions.stats().bytes == 0
        sessions.append("s", [make_item(1), make_item(2)])
        before = sessions.stats().bytes
        sessions.keep("s", "t", "x" * 1000)
        for block in ("a", "b"):
            sessions.lease("s", block, holder="h", seconds=5)
        sessions.finish("s", "b", "h", {})
        stats = sessions.stats()
        assert (stats.sessions, stats.items, stats.pending, stats.summaries, stats.originals) == (1, 2, 1, 1, 1)
        assert 1_000 < stats.bytes - before < 1_100
        assert stats.unreadable == 0


class TestCodecs:
    def _fill(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1, text="Bob Ross lives")])
        sessions.save_view("s", {"parts": [{"text": "Bob Ross"}]}, expected=0)
        sessions.lease("s", "b", holder="h", seconds=1e9)
        sessions.finish("s", "b", "h", {"text": "Bob Ross"})
        sessions.keep("s", "t", "Bob Ross, at length")

    def _texts(self, sessions: Sessions) -> str:
        view = sessions.view("s")
        return repr([sessions.read("s"), view, sessions.results("s"), sessions.original("s", "t")])

    def test_what_is_redacted_never_comes_back(self, url: str) -> None:
        sessions = open_sessions(url, codec=Codec(redact=lambda text: text.replace("Bob Ross", "[name]")))
        self._fill(sessions)
        assert "Bob" not in self._texts(sessions)
        assert self._texts(sessions).count("[name]") == 4
        sessions.close()

    def test_what_is_sealed_is_absent_without_the_key_and_stays(self, url: str) -> None:
        sealed = open_sessions(url, codec=Codec(seal=flip, unseal=flip))
        self._fill(sealed)
        assert self._texts(sealed).count("Bob Ross") == 4
        if url != "memory://":
            blind = open_sessions(url)
            assert (blind.read("s"), blind.view("s"), blind.results("s")) == ([], None, {})
            assert blind.original("s", "t") is None
            assert blind.stats().unreadable == 4
            assert not blind.save_view("s", {}, expected=0)  # nobody overwrites what is only not theirs to read
            assert not blind.lease("s", "b", holder="x", seconds=5)
            blind.close()
        assert self._texts(sealed).count("Bob Ross") == 4
        sealed.close()

    def test_what_cannot_be_redacted_is_not_stored(self, url: str) -> None:
        def fail(text: str) -> str:
            raise RuntimeError(text)

        sessions = open_sessions(url, codec=Codec(redact=fail))
        for write in (
            lambda: sessions.append("s", [make_item(1, text="secret")]),
            lambda: sessions.keep("s", "t", "secret"),
            lambda: sessions.save_view("s", {"x": "secret"}, expected=0),
        ):
            with pytest.raises(StoreError) as caught:
                write()
            assert "secret" not in str(caught.value)
        assert sessions.sessions() == []
        sessions.close()


class TestHandles:
    def test_a_store_can_be_closed_and_used_again(self, sessions: Sessions) -> None:
        sessions.append("s", [make_item(1)])
        sessions.close()
        assert sessions.length("s") == 1

    @pytest.mark.parametrize("twin", [copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
    def test_a_copy_holds_what_the_original_holds(
        self, sessions: Sessions, twin: Callable[[Sessions], Sessions]
    ) -> None:
        sessions.append("s", [make_item(1)])
        other = twin(sessions)
        assert texts(other.read("s")) == ["text 1"]
        other.append("s", [make_item(2)])
        with other.turn("s", timeout_s=1):
            pass
        other.close()

    def test_a_deep_copy_is_the_same_store(self, sessions: Sessions) -> None:
        other = copy.deepcopy(sessions)
        other.append("s", [make_item(1)])
        assert sessions.length("s") == 1
        other.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_store_used_before_a_fork_works_on_both_sides(self, sessions: Sessions, url: str) -> None:
        sessions.append("s", [make_item(1)])
        with sessions.turn("s"):  # as if another thread were busy at the fork
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    sessions.append("s", [make_item(2)])
                    with sessions.turn("another", timeout_s=5):
                        code = 0 if sessions.length("s") == 2 else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        sessions.append("s", [make_item(3)])
        assert [row.id for row in sessions.read("s")] == (["m1", "m3"] if url == "memory://" else ["m1", "m2", "m3"])

    def test_threads_lose_and_double_nothing(self, sessions: Sessions) -> None:
        def work(k: int) -> None:
            for i in range(k * 20, k * 20 + 30):  # they overlap
                sessions.append("s", [make_item(i), make_item(1_000 + i)])
                sessions.changes("s")

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = sessions.read("s")
        assert sorted(row.id for row in rows) == sorted(f"m{i + far}" for i in range(90) for far in (0, 1_000))
        assert len({row.seq for row in rows}) == len(rows) == sessions.length("s")

    def test_every_store_is_a_store(self, sessions: Sessions) -> None:
        assert isinstance(sessions, Sessions)
