"""What the replayed model reports as usage, its prompt cache, and its conduct under threads and copies."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.demo.workload.values import Turn
from tokenwise_core.messages import Answer, Message, Prompt, ToolDefinition
from tokenwise_core.testing import FakeClock, PromptCache, Replay, ReplayAnswer
from tokenwise_core.tokens import TokenCounter

HARD = Turn(
    id="hard",
    user="Which plan suits three people?",
    kind="document",
    right="The team plan.",
    wrong="The solo plan.",
    dont_know="I do not know.",
    cheap_is_right=False,
)
FREE = Turn(
    id="free",
    user="Is delivery free?",
    kind="small_talk",
    right="Yes, delivery is free of charge.",
    wrong="No.",
    dont_know="I do not know.",
)
TURNS = (HARD, FREE)
TOOLS = tuple(ToolDefinition(name=name, parameters={"type": "object"}) for name in ("find", "track", "cancel"))


def user(text: str) -> Message:
    return Message(role="user", text=text)


def system(text: str) -> Message:
    return Message(role="system", text=text)


def words(text: str) -> int:
    return len(text.split())


def word_counter() -> TokenCounter:
    return TokenCounter(words, model="replay")


def strong(**more: object) -> Replay:
    return Replay(TURNS, tier="strong", counter=word_counter(), **more)  # type: ignore[arg-type]


def ask(replay: Replay, *messages: Message, **more: object) -> ReplayAnswer:
    return replay.answer(Prompt(messages=messages, **more))  # type: ignore[arg-type]


def test_usage_is_counted_from_the_prompt_received() -> None:
    counter = word_counter()
    prompt = Prompt(messages=(user(FREE.user),), tools=TOOLS)
    usage = Replay(TURNS, tier="cheap", counter=counter).answer(prompt).usage
    assert usage["prompt_tokens"] == counter.count(prompt).total
    assert usage["completion_tokens"] == counter.answer(Answer(text=FREE.right)).total
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


def test_the_strong_model_reports_reasoning_inside_its_output() -> None:
    usage = ask(strong(), user(FREE.user)).usage
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 64 <= reasoning <= 512
    assert usage["completion_tokens"] == reasoning + words(FREE.right)
    assert usage == ask(strong(), user(FREE.user)).usage


LONG = " ".join(f"w{i}" for i in range(1500))


def cached(answered: ReplayAnswer) -> int:
    return int(answered.usage["prompt_tokens_details"]["cached_tokens"])


def test_a_repeated_long_prefix_is_cached_for_five_minutes() -> None:
    clock = FakeClock()
    replay = strong(clock=clock)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 0
    clock.advance(299)
    assert cached(ask(replay, system(LONG), user(FREE.user))) == 1408  # 1,500 in steps of 128
    clock.advance(299)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 1408  # each use renews its life
    clock.advance(300)
    assert cached(ask(replay, system(LONG), user(HARD.user))) == 0


def test_a_prefix_below_1024_tokens_is_not_cached() -> None:
    replay = strong(clock=FakeClock())
    for _ in range(2):
        assert cached(ask(replay, system(" ".join(LONG.split()[:1000])), user(HARD.user))) == 0


def test_the_cache_ends_where_the_prompt_departs() -> None:
    replay = strong(clock=FakeClock())
    ask(replay, system(LONG), user(HARD.user))
    half = " ".join([*LONG.split()[:1200], "other", *LONG.split()[1201:]])
    assert cached(ask(replay, system(half), user(HARD.user))) == 1152
    assert cached(ask(replay, system("Today is Monday. " + LONG), user(HARD.user))) == 0


def test_the_cache_reads_tools_before_the_conversation() -> None:
    replay = strong(clock=FakeClock())
    ask(replay, system(LONG), user(LONG), tools=TOOLS)
    assert cached(ask(replay, system(LONG), user(LONG), tools=TOOLS[::-1])) == 1408
    assert cached(ask(replay, system(LONG), user(LONG), tools=TOOLS)) > 2900


def test_two_models_do_not_share_a_prompt_cache() -> None:
    clock = FakeClock()
    shared = PromptCache(clock=clock)
    first, third = (strong(prompt_cache=shared) for _ in range(2))
    second = Replay(TURNS, tier="cheap", counter=word_counter(), prompt_cache=shared)
    ask(first, system(LONG), user(HARD.user))
    assert cached(ask(second, system(LONG), user(HARD.user))) == 0
    assert cached(ask(third, system(LONG), user(HARD.user))) > 1024


def test_anthropic_usage_adds_up_to_the_prompt() -> None:
    replay = strong(clock=FakeClock(), provider_format="anthropic")
    first, second = (ask(replay, system(LONG), user(HARD.user)).usage for _ in range(2))
    total = strong().answer(Prompt(messages=(system(LONG), user(HARD.user)))).usage["prompt_tokens"]
    for usage in (first, second):
        parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        assert sum(usage[part] for part in parts) == total
    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (1408, 0)
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, 1408)


def test_google_usage_keeps_thoughts_beside_the_candidates() -> None:
    usage = ask(strong(provider_format="google"), user(HARD.user)).usage
    assert usage["candidatesTokenCount"] == words(HARD.right)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + words(HARD.right) + usage["thoughtsTokenCount"]
    assert "cachedContentTokenCount" not in usage


def test_an_output_limit_cuts_the_answer_as_a_provider_does() -> None:
    answered = ask(strong(), user(FREE.user), options={"max_completion_tokens": 3})
    assert answered.answer.text.split() == FREE.right.split()[:3]
    assert answered.answer.finish_reason == "length"


def test_many_threads_get_the_same_answers() -> None:
    replay = strong()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: ask(replay, system(f"{LONG} {i % 5}"), user(HARD.user)).answer.text, range(64))
        )
    assert set(answers) == {HARD.right}


def test_a_copy_answers_the_same_with_a_cold_prompt_cache() -> None:
    replay = strong()
    ask(replay, system(LONG), user(HARD.user))
    for twin in (copy.deepcopy(replay), pickle.loads(pickle.dumps(replay))):
        answered = ask(twin, system(LONG), user(HARD.user))
        assert (answered.answer.text, cached(answered)) == (HARD.right, 0)


# Laws


prompts = st.lists(
    st.lists(st.sampled_from([LONG, f"{LONG} more", "Hello.", HARD.user]), max_size=4), min_size=1, max_size=4
)


@given(prompts)
def test_cached_tokens_come_in_steps_and_never_exceed_the_prompt(texts: list[list[str]]) -> None:
    replay = strong(clock=FakeClock())
    for conversation in texts:
        answered = ask(replay, system(LONG), *map(user, conversation), user(HARD.user))
        assert cached(answered) == 0 or cached(answered) >= 1024
        assert cached(answered) % 128 == 0
        assert cached(answered) <= answered.usage["prompt_tokens"]


@given(prompts)
def test_a_growing_conversation_reads_back_all_but_its_news(texts: list[list[str]]) -> None:
    replay = strong(clock=FakeClock())
    history = [system(LONG)]
    before = ask(replay, *history, user("x"))
    for conversation in texts:
        history = [*history, *map(user, conversation)]
        answered = ask(replay, *history, user("x"))
        assert cached(answered) > before.usage["prompt_tokens"] - 128 - 16  # a step, and the marks around a message
        before = answered


def test_dead_prefixes_are_forgotten() -> None:
    clock = FakeClock()
    cache = PromptCache(clock=clock)
    for i in range(50):
        clock.advance(100)
        cache.see("m", Prompt(messages=(user(f"text {i}"), user("more"))))
    assert len(cache._roots["m"].after) <= 6  # two lives of traffic
