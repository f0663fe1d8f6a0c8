from __future__ import annotations

from tokenwise_core.memory import BlockSummary, Memory, Rates, Request, View
from tokenwise_core.messages import Message

CLAUDE, UNCACHED = Rates(read=0.1, write=1.25), Rates(read=1.0, write=1.0)


def talked(strategy: BlockSummary, *, summariser: str, rates: Rates = CLAUDE) -> tuple[View, list[str]]:
    """Talk for 150 turns; return the last view and all notes."""
    memory = Memory(strategy, target_tokens=2_000, recall=None, rates=rates, clock=lambda: 0.0)
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


def test_without_a_prompt_cache_sentences_stand_in_until_a_summary_may_be_paid() -> None:
    view, notes = talked(BlockSummary(), summariser="own", rates=UNCACHED)
    patient, _ = talked(BlockSummary(may_extract=False), summariser="own", rates=UNCACHED)
    assert any("own sentences" in note for note in notes)
    assert any("- a fact" in summary.text for summary in view.summaries)
    assert (view.account.relative or 2) < (patient.account.relative or 0)


def test_values_at_the_beginning_of_a_very_long_history_survive_a_cut_that_the_hard_limit_forces() -> None:
    memory = Memory(target_tokens=4_000, max_tokens=8_000, recall=None)
    said = [Message(role="user", text="The contract is CT-77812 over £1,940.50, signed on 7 May 2024.")]
    for turn in range(700):
        said.append(
            Message(role="assistant", text=f"Noted, and the {turn}th page was read to the end without a remark. " * 3)
        )
        said.append(
            Message(role="user", text="Please go on with the next page of the handbook, and tell me what it says. " * 2)
        )
    with memory.using("s") as conversation:
        conversation.replace(said)
        prepared = memory.prepare(conversation, View(), Request())
        shown = "\n".join(getattr(part, "text", "") for part, _ in prepared.plan.shown(said))
    assert conversation.total > 40_000
    assert prepared.outcome.after <= 8_000
    assert all(value in shown for value in ("CT-77812", "1,940.50", "7 May 2024"))
