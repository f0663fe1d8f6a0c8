from __future__ import annotations

from tokenwise_core.memory import BlockSummary, Memory, Rates, Request, View
from tokenwise_core.messages import Message

CLAUDE = Rates(read=0.1, write=1.25)


def talked(strategy: BlockSummary, *, summariser: str) -> tuple[View, list[str]]:
    """Talk for 150 turns; return the last view and all notes."""
    memory = Memory(strategy, target_tokens=2_000, recall=None, rates=CLAUDE, clock=lambda: 0.0)
    view, notes, said = View(), [], []
    for turn in range(150):
        said.append(Message(role="user", text=f"Question {turn} about order ORD-{turn} and its delivery to Lisbon."))
        with memory.using("s") as conversation:
            conversation.replace(said)
            prepared = memory.prepare(conversation, view, Request(fixed_tokens=500, summariser=summariser))  # type: ignore[arg-type]
        view = prepared.view
        notes += prepared.outcome.notes
        memory.answered(prepared, ask=lambda ask: "- a fact\n" * 30)
        memory.drain()
        said.append(
            Message(role="assistant", text=f"It leaves the depot on day {turn} and arrives a day later, as agreed.")
        )
    return view, notes


def test_sentences_stand_in_where_a_summary_at_the_full_price_does_not_pay() -> None:
    view, notes = talked(BlockSummary(), summariser="other")
    assert view.summaries
    assert any("own sentences" in note for note in notes)
    assert (view.account.relative or 2) < 0.8


def test_nothing_is_cut_for_a_costly_summariser_where_sentences_may_not_stand_in() -> None:
    view, notes = talked(BlockSummary(may_extract=False), summariser="other")
    assert not any("own sentences" in note for note in notes)
    assert (view.account.relative or 2) < 1.05


def test_a_summariser_that_reads_the_cached_prefix_needs_no_stand_in() -> None:
    _, notes = talked(BlockSummary(), summariser="own")
    assert not any("own sentences" in note for note in notes)
