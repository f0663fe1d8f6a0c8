"""Tool results: shortened when they arrive, never beyond recall, and once is enough."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.memory.tool_results import ToolResults, cleared, digest, reference, repeats
from tokenwise_core.tokens import TokenCounter

count = TokenCounter.for_model("gpt-4o").text
short = ToolResults(max_tokens=200)


def trimmed(text: str, results: ToolResults = short, **more: Any) -> str:
    return results.trim(text, count=count, **more).result


LOG = "\n".join(
    [f"2024-05-03 12:00:{i % 60:02} worker {i} reads {'abcdefg'[i % 7] * 5} from shard {i % 3}" for i in range(400)]
    + ["KeyError: 'user_id' in /srv/app.py", "  while loading batch seven"]
    + [f"note {chr(97 + i % 26)}{chr(97 + i % 17)} about the refund policy" for i in range(40)]
    + [f"{'xyz'[i % 3]} idle {i}" for i in range(300)]
    + ["done with exit code 1"]
)


def test_a_short_result_comes_back_as_it_is() -> None:
    outcome = short.trim('{"status":"ok"}', count=count)
    assert outcome.result == '{"status":"ok"}'
    assert outcome.saved == 0
    assert not outcome.notes
    assert not outcome.reason


def test_a_long_log_keeps_its_head_its_tail_and_its_errors() -> None:
    lines = trimmed(LOG).split("\n")
    assert lines[0].startswith("2024-05-03 12:00:00 worker 0")
    assert "KeyError: 'user_id' in /srv/app.py" in lines
    assert "  while loading batch seven" in lines, "what follows an error explains it"
    assert "done with exit code 1" in lines


def test_lines_that_the_query_asks_for_stay() -> None:
    assert "refund policy" not in trimmed(LOG)
    assert "refund policy" in trimmed(LOG, query="What is the refund policy?")


def test_the_user_says_which_lines_to_keep() -> None:
    import re

    mine = ToolResults(max_tokens=200, keep=re.compile("worker 123 "))
    assert "worker 123 reads" in trimmed(LOG, mine)
    assert "KeyError" not in trimmed(LOG, mine)


def test_it_says_how_much_is_left_out_and_how_to_get_it_back() -> None:
    outcome = short.trim(LOG, count=count)
    kept = [line for line in outcome.result.split("\n")[:-1] if not line.startswith("[…")]
    footer = outcome.result.split("\n")[-1]
    total = len(LOG.split("\n"))
    assert footer == f'[{total - len(kept):,} of {total:,} lines left out; kept as "{digest(LOG)}"]'
    assert digest(LOG) in outcome.notes[0]
    assert outcome.before == count(LOG)
    assert outcome.after == count(outcome.result)


def test_a_tool_is_named_only_to_a_model_that_has_it() -> None:
    rows = json.dumps([{"row": n} for n in range(900)])
    data = "data:image/png;base64," + base64.b64encode(bytes(n * 7 % 251 for n in range(6000))).decode()
    for text in (LOG, rows, data):
        assert "recall" not in trimmed(text)
        assert "kept as" in trimmed(text)
        assert f"recall({trimmed(text).split('kept as ')[1][:14]}) returns" in trimmed(text, offers_recall=True)
    assert short.trim(LOG, count=count).notes[0].endswith(f'left out; kept as "{digest(LOG)}"')


def test_the_id_of_the_store_is_named_where_it_has_one() -> None:
    assert 'kept as "call_7"' in trimmed(LOG, id="call_7")
    assert 'recall("call_7")' in trimmed(LOG, id="call_7", offers_recall=True)


def test_codes_of_the_terminal_trailing_blanks_and_progress_bars_go_without_loss() -> None:
    text = "\x1b[31mred\x1b[0m alert   \r\n 10%\r 50%\r100%\r\n\n\n\nend\n"
    assert trimmed(text) == "red alert\n100%\n\nend"


def test_repeated_lines_become_one_with_their_number() -> None:
    assert trimmed("start\n" + "still waiting for the lock\n" * 50 + "got it") == (
        "start\nstill waiting for the lock [×50]\ngot it"
    )


def test_json_loses_its_white_space_and_nothing_else() -> None:
    text = '{ "price" : 1.10,\n  "big": 12345678901234567890, "text": "two  blanks \\" and , : marks" }'
    assert trimmed(text) == '{"price":1.10,"big":12345678901234567890,"text":"two  blanks \\" and , : marks"}'


def test_long_json_stays_json_with_head_tail_and_what_is_asked_for() -> None:
    orders = [{"id": i, "total": f"{i}.10", "error": None, "city": f"Town{i}"} for i in range(500)]
    orders[77]["error"] = "card denied"
    items = json.loads(trimmed(json.dumps(orders, indent=2), query="Town200"))
    records = [item["id"] for item in items if isinstance(item, dict)]
    assert records[0] == 0
    assert records[-1] == 499
    assert {77, 200} <= set(records), "the failing one, and the one asked for"
    gaps = [item for item in items if isinstance(item, str)]
    assert digest(json.dumps(orders, indent=2)) in gaps[0]
    assert all("of 500 items left out" in gap for gap in gaps)


def test_numbers_in_shortened_json_stay_as_they_were_written() -> None:
    text = json.dumps([{"row": i} for i in range(300)]).replace('{"row": 0}', '{"row": 1.10, "big": 1e400}')
    assert trimmed(text).startswith('[{"row":1.10,"big":1e400}')


def test_an_object_of_too_many_keys_and_a_string_too_long_are_cut_too() -> None:
    text = json.dumps({f"key{i}": "long " * 500 for i in range(400)})
    cut = json.loads(trimmed(text))
    assert cut["key0"].startswith("long long")
    assert cut["key0"].endswith("long ")
    assert "keys left out" in cut["…"]


@pytest.mark.parametrize("around", ["see {}", '{{"image": "{}", "ok": true}}', "{}"])
def test_base64_gives_way_to_its_size(around: str) -> None:
    data = base64.b64encode(bytes(i * 7 % 251 for i in range(6000))).decode()
    result = trimmed(around.format(f"data:image/png;base64,{data}"))
    assert "[image/png in base64, 6,000 bytes, left out; kept as '" in result
    if around.startswith("{{"):
        assert json.loads(result)["ok"] is True
    assert "6,000 bytes" in trimmed(around.format(data))


def test_a_long_path_or_word_is_not_taken_for_data() -> None:
    for text in ("/usr/share/" + "lib/" * 60 + "End1", "x" * 300, "deadbeef01" * 30):
        assert trimmed(text) == text


def test_one_endless_line_keeps_both_its_ends() -> None:
    result = trimmed("begin " + "word " * 5000 + "end")
    assert result.startswith("begin word")
    assert "word end\n" in result
    assert "long lines shortened" in result


def test_a_limit_too_small_for_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens=10"):
        ToolResults(max_tokens=10)


line = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["Error: no", "again", "again [×3]", "  ", "\x1b[1mx", "a\rb", '{"a": [1, 2]}', "row 1", "row 2"]),
    st.integers(10**5, 10**30).map(str),
)
value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=80)),
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(st.text(max_size=8), inner, max_size=6)),
    max_leaves=60,
)
results = st.one_of(
    st.lists(line, max_size=60).map("\n".join),
    st.lists(value, max_size=20).map(json.dumps),
    st.dictionaries(st.text(max_size=5), value, max_size=8).map(lambda data: json.dumps(data, indent=2)),
    st.tuples(line, st.integers(2, 40)).map(lambda pair: (pair[0] + "\n") * pair[1]),
)


@given(results, st.sampled_from([None, "error in row"]), st.sampled_from([64, 100, 400]), st.booleans())
def test_trimming_twice_is_trimming_once_and_the_limit_holds(
    text: str, query: str | None, max_tokens: int, offers: bool
) -> None:
    trimmer = ToolResults(max_tokens=max_tokens)
    once = trimmer.trim(text, count=count, query=query, offers_recall=offers)
    assert once.after == count(once.result) <= max_tokens
    assert trimmer.trim(once.result, count=count, query=query, offers_recall=offers).result == once.result
    assert trimmer.trim(text, count=count, query=query, offers_recall=offers) == once


@given(results)
def test_json_that_fits_keeps_its_values(text: str) -> None:
    try:
        before = json.loads(text)
    except ValueError:
        return
    if isinstance(before, (dict, list)):
        assert json.loads(trimmed(text, ToolResults(max_tokens=100_000))) == before


def test_a_result_seen_before_becomes_a_reference_if_that_is_shorter() -> None:
    seen = {digest(LOG): 4, digest("ok"): 2}
    assert repeats(seen, LOG, count=count) == 4
    assert repeats(seen, LOG + "!", count=count) is None
    assert repeats(seen, "ok", count=count) is None, "a reference would be longer"


def test_references_and_cleared_results_name_the_id() -> None:
    assert reference("ab12", tokens=5200, turn=4) == '[The same result as in turn 4 (5,200 tokens, id "ab12")]'
    assert cleared("search", "ab12", tokens=5200) == '[Result of search cleared (5,200 tokens); kept as "ab12"]'
    assert cleared("search", "ab12", tokens=5200, offers_recall=True) == (
        '[Result of search cleared (5,200 tokens); recall("ab12") returns it]'
    )
