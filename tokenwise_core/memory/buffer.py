"""`BlockSummary`: summarise the oldest block when that pays, keep the summary frozen, and never wait for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenwise_core.errors import BadInput
from tokenwise_core.flow import Ask, Flow
from tokenwise_core.memory.conversation import AROUND_MESSAGE
from tokenwise_core.memory.course import NobodyToAsk
from tokenwise_core.memory.cutting import cut_after, going, going_of, least_first, leaving, left_out, whole
from tokenwise_core.memory.economics import EPSILON, block_size, break_even
from tokenwise_core.memory.fitting import fit
from tokenwise_core.memory.paying import is_above_target, keeps_guard, over
from tokenwise_core.memory.pins import SHARE, Pins, merge, pinned
from tokenwise_core.memory.prompts import block_prompt, chunks, extractive, instruction, merge_prompt
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.view import Block, Summary, View, evicting, without
from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText
from tokenwise_core.text.extractive import extract

log = logging.getLogger("tokenwise.memory")

INSTRUCTION_TOKENS = 130
"""What the instruction behind a conversation takes, about."""
WORDS_A_TOKEN = 0.7
CHUNK_TOKENS = 6_000
"""Tokens of a transcript that one question shows: more are split and asked side by side."""
LONGEST = 1.3
"""How far a summary may exceed its bound before it is cut."""


EXPECTED_PINS = 0.015
"""What pins take of the tokens that they stand for, as measured: 1 % of a chat, 2.5 % of a dense tool run."""
CLOSE = 0.75
"""Share of the hard limit from which on a summary is begun though it does not pay: it is going to be needed."""
EXTRACT_TOKENS = 12_000
"""What is read at most where a request waits: some 100 ms."""
WAITED = 8
"""Requests after which a finished summary that the guard holds back has waited long."""
OWN_SENTENCES = "the summary was made of the conversation's own sentences"
GIVEN_UP = 4
"""Failures after which a block is no longer tried, until it has grown."""

Made = Mapping[str, Any]
"""A finished summary as JSON: "text", "pins", "left_out", "by"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a summary is made of: the messages of its block, the summaries that it takes in, those beside it."""

    messages: tuple[Message, ...]
    taken: tuple[Summary, ...]
    beside: tuple[Summary, ...]
    behind: str
    pin_tokens: int

    @property
    def earlier(self) -> str:
        """The text of the summaries that are taken in."""
        return "\n".join(summary.facts for summary in self.taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSummary:
    """Nothing until it pays; then the oldest closed block is summarised behind the request, and its summary frozen.

    A summary takes at most *summary_tokens*; the tail of *tail_tokens* (1/32 of the target by default) is never
    in a block. The *merge_at*-th block takes in the summaries before it, so their number is bounded; 1 keeps a single
    running summary. *pin_share* of a block's tokens may hold values that its summary lost. Our own cost never exceeds
    (1 + *epsilon*) × that of sending everything, but for the hard limit; (1 + 2 × *epsilon*) where a summary that is
    paid for was long held back. *may_extract* lets the conversation's own sentences stand in where a summary of a
    model's does not pay: one that reads the block at the full price seldom does under a prompt cache, and without one
    it is long until our sum allows it.
    """

    summary_tokens: int = 300
    tail_tokens: int | None = None
    merge_at: int = 4
    pin_share: float = SHARE
    epsilon: float = EPSILON
    may_extract: bool = True

    def __post_init__(self) -> None:
        if self.summary_tokens < 1 or self.merge_at < 1 or not 0 <= self.pin_share <= 1 or self.epsilon < 0:
            raise BadInput(f"{self}: give tokens above 0, merge_at from 1, pin_share of 0…1, epsilon from 0")

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "block summary"

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Commit what is ready and pays, begin what will pay, and fit the hard limit whatever it costs."""
        view, reasons, notes = situation.view, [], []
        ready = situation.ready.get(view.pending.key) if view.pending else None
        if view.pending and ready is not None:
            done = self.committed(situation, view.pending, ready)
            if keeps_guard(situation, done, epsilon=self._patience_for(view)) or over(situation, view):
                view, reasons = done, ["summary"]
                notes += _left_out(ready)
        elif view.pending and situation.failed >= GIVEN_UP:
            view = replace(view, pending=None, failures=view.failures + 1)
        now = replace(situation, view=view)
        begin = view.pending or self._next(now)
        if begin is None and self.may_extract and not (situation.reuses_prefix and situation.rates.caches):
            now = replace(now, has_model=False, waits=True)  # what costs nothing may pay where a model's does not
            begin = self._next(now)
        if begin and now.waits:
            view, begin, reason, more = yield from self._at_once(now, begin)
            reasons += reason
            notes += more
        elif begin and not view.pending:
            view = replace(view, pending=begin, account=view.account.spent(self._price(now)))
        if over(situation, view):
            short, more = self._fitted(replace(situation, view=view))
            reasons += ["hard limit"] if short != view else []
            view = short
            notes += more
            begin = None
        return Arranged(view=view, begin=begin, reason=", ".join(reasons), notes=tuple(notes))

    def _at_once(self, situation: Situation, block: Block) -> Flow[tuple[View, Block | None, list[str], list[str]]]:
        """Summarise *block* before the request goes out; a failure changes nothing."""
        made: Made | None = None
        if situation.has_model:
            made = yield from self.summary(situation, block)
        else:
            made = self.extracted(situation, block)
        spent = replace(situation.view, account=situation.view.account.spent(self._price(situation)))
        if made is None:  # paid for all the same
            return replace(spent, failures=spent.failures + 1), None, [], []
        done = self.committed(replace(situation, view=spent), block, made)
        said = [OWN_SENTENCES] if made["by"] == "extract" else []
        return done, None, ["summary"], [*said, *_left_out(made)]

    def _patience_for(self, view: View) -> float:
        """Return the ε of a summary that is paid for: twice as much where it has long been waiting to be shown.

        The tail behind it grows, and with it what the cut costs: it may never come to be within the guard again.
        """
        since = 0 if view.pending is None else view.account.requests - view.pending.since
        return self.epsilon if since < WAITED else 2 * self.epsilon

    # Whether --------------------------------------------------------------------------------------------------------

    def _next(self, situation: Situation) -> Block | None:
        """Return the block whose summary is worth to be begun now."""
        if not is_above_target(situation, situation.view) or situation.view.failures > _patience(situation):
            return None
        block = self._block(situation, self._tail(situation))
        return block if block and (self._pays(situation, block) or self._is_close(situation)) else None

    def _is_close(self, situation: Situation) -> bool:
        """Say whether the hard limit is going to force a cut, whatever it costs: then better by a model's summary.

        Of a summariser that reads the conversation from the provider's cache one pays before that.
        """
        limit = situation.limits.max_tokens
        if limit is None or not situation.has_model or situation.reuses_prefix:
            return False
        return situation.total(situation.plan(situation.view)) > CLOSE * limit

    def _tail(self, situation: Situation) -> int:
        return self.tail_tokens if self.tail_tokens is not None else max(situation.limits.target // 32, 1)

    def _block(self, situation: Situation, tail: int) -> Block | None:
        """Return the block between the last cut and the tail."""
        view, conversation = situation.view, situation.conversation
        start = max(view.cut, conversation.head)
        ranges = going(situation, start, cut_after(situation, tail=tail, start=start))
        if not ranges:
            return None
        stop = ranges[-1][1]  # before what stays at the end: the summary of what led to a question stands before it
        merges = len(view.summaries) if len(view.summaries) + 1 >= self.merge_at else 0
        asked = conversation.last_user
        begins = view.summaries[-merges].start if merges else start
        spared = asked if asked is not None and begins <= asked < stop else None
        digest, since = conversation.digest(stop), view.account.requests
        return Block(start=start, stop=stop, digest=digest, merges=merges, spared=spared, since=since)

    def _pays(self, situation: Situation, block: Block) -> bool:
        """Say whether the block is large enough, will earn back its cost, and keeps the guard at each step."""
        view, rates, conversation = situation.view, situation.rates, situation.conversation
        rest = view.summaries[: len(view.summaries) - len(_taken(view, block))]
        gone = replace(view, summaries=rest, evicted=evicting(view.evicted, *going_of(situation, block)))
        removed = situation.plan(view).tokens - situation.plan(gone).tokens  # results in it may be cleared already
        summary = self._expected(situation, block)
        kept = conversation.tokens(block.stop, len(conversation))
        growth = situation.growth
        if removed < block_size(growth=growth, kept=kept, summary=summary, rates=rates):
            return False
        reads = rates.read if situation.reuses_prefix else situation.summariser_price
        calls = break_even(removed=removed, kept=kept, summary=summary, rates=rates, summariser_reads=reads)
        if calls > max(view.account.requests, 1):  # as many to come as there have been: nobody knows better
            return False
        most = self._longest(situation, block) if situation.waits else summary  # nobody looks again before it is sent
        return self._keeps_guard(situation, removed=removed, summary=most, kept=kept)

    def _keeps_guard(self, situation: Situation, *, removed: int, summary: int, kept: int) -> bool:
        """Say whether our sum stays within the guard when the summary is made, and when it is committed."""
        account, rates, eps = situation.view.account, situation.rates, self.epsilon
        price = self._price(situation)
        sent = situation.fixed + situation.plan(situation.view).tokens
        after = sent - removed + summary
        commit = rates.request(after, max(after - kept - summary, 0))
        now = situation.cost(situation.plan(situation.view))
        if situation.waits:  # a summary that fails is paid for, too, and all is sent as it is
            most = max(commit, now) if situation.has_model else commit
            return account.allows(price + most, situation.everything, epsilon=eps)
        grown = round(situation.growth)
        later = rates.request(situation.full + grown, situation.full)
        return account.allows(now + price, situation.everything, epsilon=eps) and account.allows(
            now + price + commit + grown * rates.write, situation.everything + later, epsilon=eps
        )

    def _expected(self, situation: Situation, block: Block) -> int:
        """Return the tokens that a summary with its pins is taken to have."""
        taken = _taken(situation.view, block)
        start = taken[0].start if taken else block.start
        covered = situation.conversation.tokens(start, block.stop)
        return self._most(situation) + round(min(self.pin_share, EXPECTED_PINS) * covered) + AROUND_MESSAGE

    def _longest(self, situation: Situation, block: Block) -> int:
        """Return the tokens that a summary with its pins has at most."""
        taken = _taken(situation.view, block)
        pins = self._most_pins(situation, taken[0].start if taken else block.start, block.stop)
        return round(self._most(situation) * LONGEST) + pins + 3 * AROUND_MESSAGE

    def _price(self, situation: Situation) -> float:
        """Return what making a summary costs."""
        if not situation.has_model:
            return 0.0
        rates = situation.rates
        made = self._most(situation) * rates.output * situation.summariser_price
        plan = situation.plan(situation.view)
        if situation.reuses_prefix:
            sent = situation.fixed + plan.tokens
            shared = sent if not situation.waits else situation.compared(plan).stable_tokens
            return made + rates.request(sent + INSTRUCTION_TOKENS, shared)
        return made + situation.summariser_price * (plan.tokens + INSTRUCTION_TOKENS)

    # How ------------------------------------------------------------------------------------------------------------

    def summary(self, situation: Situation, block: Block) -> Flow[Made | None]:
        """Return the making of the summary of *block*: what `committed` takes; None where the model said nothing.

        What it needs of the conversation is taken at once, so it may be driven later, elsewhere. The model sees all
        that is replaced: behind the conversation as last sent, or as transcripts, in chunks asked side by side where
        they are long. What the summary lost of names, numbers, dates and the like is pinned.
        """
        return self._made(situation, self._material(situation, block))

    def _material(self, situation: Situation, block: Block) -> Material:
        """Take what is needed of the conversation."""
        view, conversation = situation.view, situation.conversation
        taken = _taken(view, block)
        start = taken[0].start if taken else block.start
        behind = conversation.messages[block.stop].text if block.stop < len(conversation) else ""
        return Material(
            messages=tuple(_messages(situation, block)),
            taken=taken,
            beside=view.summaries[: len(view.summaries) - len(taken)],
            behind=behind,
            pin_tokens=self._most_pins(situation, start, block.stop),
        )

    def _made(self, situation: Situation, material: Material) -> Flow[Made | None]:
        try:
            text = yield from self._asked(situation, material)
        except NobodyToAsk:
            return None
        except Exception as error:  # the model's, whatever it is: the history stays as it is
            log.warning("a summary failed (%s): the history stays whole, it is tried again", type(error).__name__)
            return None
        text = self._bounded(text.strip(), situation)
        return {**_pinned(material, text, situation.count), "by": "model"} if text else None

    def _asked(self, situation: Situation, material: Material) -> Flow[str]:
        most, earlier = self._most(situation), material.earlier
        words, bound = round(most * WORDS_A_TOKEN), round(most * LONGEST)
        asked = instruction(material.behind[:200], earlier_summary=bool(earlier), max_words=words)
        parts = chunks(material.messages, count=situation.count, max_tokens=CHUNK_TOKENS)
        if len(parts) <= 1 or situation.reuses_prefix:
            prompt = block_prompt("\n".join(parts), earlier, max_words=words)
            answer: str = yield Ask(prompt, purpose="summary", max_tokens=bound, instruction=asked)
            return answer
        answers: list[str] = yield [
            Ask(block_prompt(part, "", max_words=words), purpose="summary", max_tokens=bound) for part in parts
        ]
        merging = merge_prompt([text for text in (earlier, *answers) if text.strip()], max_words=words)
        answer = yield Ask(merging, purpose="summary", max_tokens=bound)
        return answer

    def _most(self, situation: Situation) -> int:
        """Return the tokens of a summary: under a small limit no more than an eighth of it."""
        return min(self.summary_tokens, max(situation.limits.target // 8, 16))

    def _most_pins(self, situation: Situation, start: int, stop: int) -> int:
        """Return the tokens of pins for messages [start, stop): their share, under a small limit an eighth of it."""
        share = round(self.pin_share * situation.conversation.tokens(start, stop))
        return max(8, min(share, situation.limits.target // 8))

    def _bounded(self, text: str, situation: Situation) -> str:
        most = self._most(situation)
        if situation.count(text) <= most * LONGEST:
            return text
        return extract(text, max_tokens=most, count=situation.count).text

    def extracted(self, situation: Situation, block: Block) -> Made:
        """Make the summary of *block* from its own sentences: no model, nothing to wait for, the same each time.

        Of a very long one the newest part is read for sentences, as a request is waiting; all of it for values.
        """
        material = self._material(situation, block)
        first = situation.conversation.first_at(EXTRACT_TOKENS, start=block.start, stop=block.stop)
        read = material.messages if first <= block.start else _messages(situation, block, first)
        earlier = "\n".join(summary.text for summary in material.taken)
        text = extractive(read, earlier, max_tokens=self._most(situation), count=situation.count)
        return {**_pinned(material, text, situation.count), "by": "extract"}

    def committed(self, situation: Situation, block: Block, made: Made) -> View:
        """Return the view with *block* replaced by its summary, and the summaries that it took in gone."""
        view = situation.view
        taken = _taken(view, block)
        start = taken[0].start if taken else block.start
        bare = Summary(
            start=start,
            stop=block.stop,
            text=str(made["text"]),
            tokens=0,
            digest=block.digest,
            pins=tuple(made["pins"]),
            merged=1 + sum(one.merged for one in taken),
        )
        summary = replace(bare, tokens=situation.count(bare.shown) + AROUND_MESSAGE)
        evicted = evicting(view.evicted, *going_of(situation, block))
        kept = view.summaries[: len(view.summaries) - len(taken)]
        done = replace(view, summaries=(*kept, summary), evicted=evicted, pending=None, failures=0)
        return whole(done, situation.conversation)

    def _fitted(self, situation: Situation) -> tuple[View, list[str]]:
        """Return a view that fits the hard limit: a summary of the oldest sentences, with ever less of a tail."""
        tail = min(self._tail(situation), max(situation.limits.max_tokens or 0, 0))
        view, notes = situation.view, []
        while over(situation, view):
            now = replace(situation, view=replace(view, pending=None))
            block = self._block(now, tail)
            if block is not None:
                made = self.extracted(now, block)
                view = self.committed(now, block, made)
                notes = [OWN_SENTENCES, *_left_out(made)]
            elif tail == 0:
                break
            tail //= 2
        now = replace(situation, view=view)
        rest = leaving(now, keep=0) if over(situation, view) else []
        if rest:  # questions that were the last once, and stand between blocks
            limit = int((situation.limits.max_tokens or 0) / situation.scale) - situation.fixed
            gone = least_first(now, rest, limit)
            view = left_out(now, gone)
            notes = [*notes, f"{len(gone)} earlier messages were left out to fit the context"]
        return fit(replace(situation, view=view), notes)


def _messages(situation: Situation, block: Block, first: int = 0) -> list[Message]:
    """Return the messages of *block* from position *first* on."""
    conversation = situation.conversation
    ranges = without(going_of(situation, block), [(0, first)])
    return [message for a, b in ranges for message in conversation.slice(a, b)]


def _taken(view: View, block: Block) -> tuple[Summary, ...]:
    """Return the summaries that the block's takes in."""
    return view.summaries[len(view.summaries) - block.merges :] if block.merges else ()


def _pinned(material: Material, text: str, count: CountText) -> dict[str, Any]:
    """Return the summary with the values that it lost of what it stands for."""
    said = [Message(role="assistant", text=summary.text) for summary in material.taken]
    before = [value for summary in material.taken for value in summary.pins]
    beside = [value for summary in material.beside for value in summary.pins]
    most = material.pin_tokens
    new = pinned((*said, *material.messages), summary=text, carried=(*beside, *before), count=count, max_tokens=most)
    pins = merge(Pins(values=tuple(before)), new, summary=text, count=count, max_tokens=most) if before else new
    left = dict.fromkeys((*pins.left_out, *new.left_out))
    return {"text": text, "pins": list(pins.values), "left_out": list(left)}


def _left_out(made: Made) -> list[str]:
    left = made.get("left_out") or ()
    return [f"left out of the summary, can be recalled: {', '.join(left)}"] if left else []


def _patience(situation: Situation) -> int:
    """Return after how many failures in a row no more summaries are begun: one more for every eight requests."""
    return 2 + situation.view.account.requests // 8
