from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.messages import Message, Prompt, Tag, ToolCall
from tokenwise_core.usage.attribution import attribute
from tokenwise_core.usage.call import Known, known_from_variables
from tokenwise_core.usage.components import Component

PAGE = "Returns are accepted within thirty days of delivery, provided that the hub is complete and was not opened."


def pieces(prompt: Prompt, **kwargs: object) -> list[list[tuple[str, str]]]:
    """Return, for each message, its texts with their components."""
    found = attribute(prompt, **kwargs)  # type: ignore[arg-type]
    return [
        [(str(span.component), message.text[span.start : span.end]) for span in spans]
        for message, spans in zip(prompt.messages, found.spans, strict=True)
    ]


def wholes(*messages: Message) -> list[str]:
    return [str(component) for component in attribute(Prompt(messages=messages)).whole]


def test_roles_and_places_give_the_structure() -> None:
    assert wholes(
        Message(role="system", text="You are a desk."),
        Message(role="user", text="Hello"),
        Message(role="assistant", text="Hello, how can I help?"),
        Message(role="user", text="Where is my order?"),
        Message(role="assistant", tool_calls=(ToolCall(name="find_order"),)),
        Message(role="tool", text="shipped"),
    ) == ["system_prompt", "history", "history", "user_input", "agent_messages", "tool_results"]


def test_retrieved_text_is_found_inside_the_question() -> None:
    prompt = Prompt(messages=(Message(role="user", text=f"Context:\n{PAGE}\n\nQuestion: How long?"),))
    assert pieces(prompt, retrieved=[PAGE]) == [
        [
            ("system_prompt", "Context:\n"),
            ("retrieved_context", PAGE),
            ("system_prompt", "\n\nQuestion: "),
            ("user_input", "How long?"),
        ]
    ]


def test_retrieved_text_that_was_cut_is_still_found() -> None:
    prompt = Prompt(messages=(Message(role="system", text=f"Use this: {PAGE[:90]}…"), Message(role="user", text="?")))
    found = attribute(prompt, retrieved=[PAGE])
    sizes = {span.component: span.end - span.start for span in found.spans[0]}
    assert sizes[Component.RETRIEVED_CONTEXT] >= 64


def test_retrieved_text_in_a_tool_result_is_retrieved_context() -> None:
    prompt = Prompt(messages=(Message(role="user", text="?"), Message(role="tool", text=f"found: {PAGE}")))
    assert pieces(prompt, retrieved=[PAGE])[1] == [("tool_results", "found: "), ("retrieved_context", PAGE)]


def test_template_variables_leave_the_rest_to_the_template() -> None:
    known = known_from_variables({"context": [PAGE], "question": ["How long?"]})
    prompt = Prompt(messages=(Message(role="user", text=f"Answer from {PAGE}\nQ> How long? A>"),))
    assert [c for c, _ in pieces(prompt, known=known, templated=True)[0]] == [
        "system_prompt", "retrieved_context", "system_prompt", "user_input", "system_prompt",
    ]  # fmt: skip


def test_messages_of_a_template_that_no_variable_explains_are_examples() -> None:
    prompt = Prompt(
        messages=(
            Message(role="system", text="You are a desk."),
            Message(role="user", text="Can I pay by card?"),
            Message(role="assistant", text="Yes."),
            Message(role="user", text="An earlier question"),
            Message(role="assistant", text="An earlier answer"),
            Message(role="user", text="And now?"),
        )
    )
    known = known_from_variables({"history": ["An earlier question", "An earlier answer"], "question": ["And now?"]})
    assert [str(c) for c in attribute(prompt, known=known, templated=True).whole] == [
        "system_prompt", "few_shot", "few_shot", "history", "history", "user_input",
    ]  # fmt: skip


def test_a_summary_among_the_messages_is_known_by_how_it_begins() -> None:
    assert wholes(
        Message(role="system", text="You are a desk."),
        Message(role="user", text="Here is a summary of the conversation to date:\n\nThe user moved to Graz."),
        Message(role="user", text="Where do I live?"),
    ) == ["system_prompt", "summary", "user_input"]


def test_a_memory_block_inside_the_system_message_is_memory() -> None:
    prompt = Prompt(
        messages=(Message(role="system", text="Be kind. <memory>\nlives in Graz\n</memory>"), Message(role="user"))
    )
    assert pieces(prompt)[0] == [
        ("system_prompt", "Be kind. "), ("memory", "<memory>\nlives in Graz\n</memory>"),
    ]  # fmt: skip


def test_a_tag_wins_over_everything_else() -> None:
    message = Message(role="user", text=PAGE, tags=(Tag(component="memory"),))
    assert pieces(Prompt(messages=(message,)), retrieved=[PAGE]) == [[("memory", PAGE)]]


texts = st.text(alphabet="ab \n<>/memory:Query", max_size=200)


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), texts), max_size=6),
    st.lists(texts, max_size=3),
    st.lists(st.tuples(st.sampled_from(list(Component)), texts), max_size=3),
    st.booleans(),
)
def test_every_character_gets_exactly_one_component(
    messages: list[tuple[str, str]], retrieved: list[str], known: list[tuple[Component, str]], templated: bool
) -> None:
    prompt = Prompt(messages=tuple(Message(role=role, text=text) for role, text in messages))  # type: ignore[arg-type]
    found = attribute(
        prompt,
        retrieved=retrieved,
        known=[Known(component=c, text=t) for c, t in known if t.strip()],
        templated=templated,
    )
    for message, spans in zip(prompt.messages, found.spans, strict=True):
        at = 0
        for span in spans:
            assert span.start == at
            assert span.end > span.start
            at = span.end
        assert at == len(message.text)
