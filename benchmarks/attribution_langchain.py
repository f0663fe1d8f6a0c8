"""Labelled prompts through LangChain's real chains, agents, graphs and middleware, on the bundled workload's texts.

No piece bears a tag of ours; the mark that LangChain's own summariser sets is removed too. Each builder knows what it
puts in, and says so to `Bench.expect` in the same breath.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware, dynamic_prompt
from langchain.agents.middleware.summarization import DEFAULT_SUMMARY_PROMPT
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage, get_buffer_string
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import PydanticOutputParser, StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
)
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel, Field

from benchmarks.labelled import Labelled
from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Turn, load_workload
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.parameters import read_output_schema
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import TokenBreakdownHandler
from tokenwise_langchain.convert import snapshot, to_message, to_prompt, to_tools
from tokenwise_langchain.demo import desk_tools

MODEL = "gpt-4o-mini"
COUNTER = TokenCounter.for_model(MODEL)
WORKLOAD = load_workload()
PAGES = [Document(page.text, id=page.id, metadata={"title": page.title}) for page in WORKLOAD.documents]
ANSWERABLE = [
    turn
    for conversation in WORKLOAD.conversations
    for turn in conversation.turns
    if turn.kind == "document" and len(turn.user) > 40
]
SYSTEMS = (
    "You are the support desk of Ostrel. Be brief, exact and friendly; say so if you do not know.",
    "You answer questions about home-energy devices. Use at most three sentences. Promise nothing that is not written.",
    WORKLOAD.system_prompt,
)
VARIANTS = 6

Piece = tuple[Component, str | int]


class Scripted(BaseChatModel):
    """Says what it is told to say, and reports the size of the prompt that it received."""

    script: list[AIMessage] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=MODEL, ls_model_type="chat")

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        received = to_prompt([snapshot(message) for message in messages], kwargs, "openai")
        said = self.script.pop(0) if self.script else AIMessage("Noted.")
        tokens, output = COUNTER.count(received).total, COUNTER.text(str(said.content)) + 20 * len(said.tool_calls)
        usage = UsageMetadata(input_tokens=tokens, output_tokens=output, total_tokens=tokens + output)
        message = said.model_copy(update={"usage_metadata": usage, "response_metadata": {"model_name": MODEL}})
        return ChatResult(generations=[ChatGeneration(message=message)])


class Found(BaseRetriever):
    """Returns the pages that it is given."""

    pages: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.pages


class Bench:
    """A handler, what is expected of its next events, and the rows that come of both."""

    def __init__(self) -> None:
        self.handler = TokenBreakdownHandler(store=MemoryStore(), log=False)
        self.config: dict[str, Any] = {"callbacks": [self.handler]}
        self._expected: list[Counter[Component]] = []

    def expect(self, *pieces: Piece) -> None:
        """Say what the next call's prompt is made of."""
        truth: Counter[Component] = Counter()
        for component, piece in pieces:
            truth[component] += piece if isinstance(piece, int) else COUNTER.text(piece)
        self._expected.append(truth)

    def rows(self) -> Iterator[Labelled]:
        """Yield the labelled calls so far."""
        events = self.handler.events()
        if len(events) != len(self._expected):
            raise RuntimeError(f"{len(events)} calls, {len(self._expected)} expected")
        yield from (Labelled(event=e, truth=t) for e, t in zip(events, self._expected, strict=True))
        self.handler.reset()
        self._expected.clear()


def prompts() -> Iterator[Labelled]:
    """Yield every labelled prompt, each builder in several variants."""
    for build in BUILDERS:
        for variant in range(VARIANTS):
            bench = Bench()
            build(bench, variant)
            yield from bench.rows()


# Texts ----------------------------------------------------------------------------------------------------------------

S, C, H, U = Component.SYSTEM_PROMPT, Component.RETRIEVED_CONTEXT, Component.HISTORY, Component.USER_INPUT
FEW, TOOLS, RESULTS = Component.FEW_SHOT, Component.TOOL_DEFINITIONS, Component.TOOL_RESULTS


def turn(variant: int, step: int = 0) -> Turn:
    return ANSWERABLE[(17 * variant + 5 * step) % len(ANSWERABLE)]


def pages(variant: int, count: int = 3) -> list[Document]:
    return [PAGES[(7 * variant + 3 * i) % len(PAGES)] for i in range(count)]


def past(variant: int, rounds: int) -> list[BaseMessage]:
    """Return some rounds of a conversation of the workload."""
    conversation = WORKLOAD.conversations[variant % len(WORKLOAD.conversations)]
    messages: list[BaseMessage] = []
    for told in conversation.turns[:rounds]:
        messages += [HumanMessage(told.user), AIMessage(told.right)]
    return messages


def said(messages: Sequence[BaseMessage], component: Component = H) -> list[Piece]:
    return [(component, str(message.content)) for message in messages]


def offered(tools: Sequence[Any]) -> Piece:
    """Return what the definitions of *tools* take in a prompt."""
    count = COUNTER.count(Prompt(tools=to_tools({"tools": [convert_to_openai_tool(tool) for tool in tools]})))
    return TOOLS, sum(count.tools) + count.tools_overhead


def called(message: BaseMessage) -> Piece:
    """Return what the tool calls of a message take in a prompt."""
    view = to_message(snapshot(message))
    count = COUNTER.count(Prompt(messages=(Message(role="user", text="x"), view)))
    return Component.AGENT_MESSAGES, count.messages[1].tool_calls + count.messages[1].text


def plain(found: Sequence[Document]) -> str:
    return "\n\n".join(page.page_content for page in found)


def titled(found: Sequence[Document]) -> str:
    return "\n---\n".join(f"[{i}] {page.metadata['title']}\n{page.page_content}" for i, page in enumerate(found, 1))


WRITTEN: tuple[Callable[[Sequence[Document]], str], ...] = (plain, titled)


def filled(template: str, **values: str) -> list[str]:
    """Return the fixed words of a template, cut at its variables."""
    fixed = [template]
    for name in values:
        fixed = [part for text in fixed for part in text.split("{" + name + "}")]
    return [part for part in fixed if part.strip()]


# Chains ---------------------------------------------------------------------------------------------------------------

IN_SYSTEM = (
    ("{rules}\n\nAnswer from these pages only:\n{context}", "context"),
    ("{rules}\n\n<pages>\n{passages}\n</pages>\nIf the pages do not say it, you do not know.", "passages"),
    ("{rules}\n\nContext:\n{documents}", "documents"),
)
CLASSIC = (
    "Use the following pieces of context to answer the question at the end. If you don't know the answer, say that "
    "you don't know.\n\n{context}\n\nQuestion: {question}\nHelpful Answer:"
)
OF_INDEX = (
    "Context information is below.\n----------\n{context_str}\n----------\nGiven the context information and not prior "
    "knowledge, answer the query.\nQuery: {query_str}\nAnswer: "
)
IN_HUMAN = (
    (CLASSIC, "context", "question"),
    (OF_INDEX, "context_str", "query_str"),
    ("Handbook pages:\n\n{pages}\n\nThe customer asks: {text}", "pages", "text"),
)


def context_in_the_system_message(bench: Bench, variant: int) -> None:
    template, name = IN_SYSTEM[variant % 3]
    rules, write, asked, found = SYSTEMS[variant % 3], WRITTEN[variant % 2], turn(variant).user, pages(variant)
    prompt = ChatPromptTemplate.from_messages([("system", template.replace("{rules}", rules)), ("human", "{question}")])
    chain = {name: Found(pages=found) | write, "question": RunnablePassthrough()} | prompt | Scripted()
    bench.expect((S, rules), *((S, t) for t in filled(template, rules="", **{name: ""})), (C, write(found)), (U, asked))
    (chain | StrOutputParser()).invoke(asked, config=bench.config)


def context_in_the_human_message(bench: Bench, variant: int) -> None:
    template, name, wish = IN_HUMAN[variant % 3]
    rules, write, asked, found = SYSTEMS[variant % 2], WRITTEN[variant % 2], turn(variant).user, pages(variant, 4)
    prompt = ChatPromptTemplate.from_messages([("system", rules), ("human", template)])
    chain = {name: Found(pages=found) | write, wish: RunnablePassthrough()} | prompt | Scripted() | StrOutputParser()
    bench.expect((S, rules), *((S, t) for t in filled(template, **{name: "", wish: ""})), (C, write(found)), (U, asked))
    chain.invoke(asked, config=bench.config)


def context_with_history_and_examples(bench: Bench, variant: int) -> None:
    rules, asked, found, history = SYSTEMS[variant % 3], turn(variant).user, pages(variant), past(variant, 1 + variant)
    examples = [{"question": q, "answer": a} for q, a in WORKLOAD.few_shot[: 2 + variant % 3]]
    shots = FewShotChatMessagePromptTemplate(
        example_prompt=ChatPromptTemplate.from_messages([("human", "{question}"), ("ai", "{answer}")]),
        examples=examples,
        input_variables=[],
    )
    template = "Handbook:\n{context}\n\nQuestion: {question}"
    prompt = ChatPromptTemplate.from_messages(
        [SystemMessage(rules), shots, MessagesPlaceholder("chat_history"), ("human", template)]
    )
    chain = RunnablePassthrough.assign(context=lambda x: plain(found)) | prompt | Scripted()
    bench.expect(
        (S, rules), *((FEW, text) for example in examples for text in example.values()), *said(history),
        *((S, t) for t in filled(template, context="", question="")), (C, plain(found)), (U, asked),
    )  # fmt: skip
    chain.invoke({"question": asked, "chat_history": history}, config=bench.config)


def examples_in_one_string(bench: Bench, variant: int) -> None:
    asked, examples = turn(variant).user, [{"q": q, "a": a} for q, a in WORKLOAD.few_shot[: 2 + variant % 3]]
    prefix = "Answer the customer as in the examples."
    shots = FewShotPromptTemplate(
        examples=examples,
        example_prompt=PromptTemplate.from_template("Customer: {q}\nDesk: {a}"),
        prefix=prefix,
        suffix="Customer: {wish}\nDesk:",
        input_variables=["wish"],
    )
    worked = "\n\n".join(f"Customer: {e['q']}\nDesk: {e['a']}" for e in examples)
    bench.expect((S, prefix), (FEW, worked), (S, "Customer: "), (S, "\nDesk:"), (U, asked))
    (shots | Scripted()).invoke({"wish": asked}, config=bench.config)


def a_plain_conversation(bench: Bench, variant: int) -> None:
    rules, history, asked = SYSTEMS[variant % 3], past(variant, 3 + variant), turn(variant).user
    messages = [SystemMessage(rules), *history, HumanMessage(asked)]
    bench.expect((S, rules), *said(history), (U, asked))
    Scripted().invoke(messages, config=bench.config)


def a_question_made_to_stand_alone(bench: Bench, variant: int) -> None:
    history, asked = past(variant, 2 + variant % 4), turn(variant).user
    written = "\n".join(f"{'Human' if m.type == 'human' else 'Assistant'}: {m.content}" for m in history)
    template = (
        "Given the following conversation and a follow up question, rephrase the follow up question to be a standalone "
        "question.\n\nChat History:\n{chat_history}\nFollow Up Input: {question}\nStandalone question:"
    )
    bench.expect(*((S, t) for t in filled(template, chat_history="", question="")), (H, written), (U, asked))
    chain = ChatPromptTemplate.from_template(template) | Scripted() | StrOutputParser()
    chain.invoke({"chat_history": written, "question": asked}, config=bench.config)


def history_that_holds_earlier_pages(bench: Bench, variant: int) -> None:
    """Each turn's prompt is kept as it was sent, pages and all: they stay retrieved text in the later prompts."""
    rules, template = SYSTEMS[variant % 2], "Pages:\n{context}\n\nQuestion: {question}"
    messages: list[BaseMessage] = [SystemMessage(rules)]
    before: list[Piece] = [(S, rules)]
    model, retriever_config = Scripted(), {**bench.config, "metadata": {"thread_id": f"kept-{variant}"}}

    def answer(question: str) -> None:
        found = Found(pages=pages(variant + len(messages), 2)).invoke(question)
        context = plain(found)
        messages.append(HumanMessage(template.format(context=context, question=question)))
        bench.expect(*before, (C, context), (S, "Pages:\n"), (S, "\n\nQuestion: "), (U, question))
        messages.append(model.invoke(messages))
        before.extend([(C, context), (H, "Pages:\n"), (H, f"\n\nQuestion: {question}"), (H, "Noted.")])

    for step in range(3):
        RunnableLambda(answer).invoke(turn(variant, step).user, config=retriever_config)


# Structured output ----------------------------------------------------------------------------------------------------


class Ticket(BaseModel):
    """A ticket for the desk."""

    subject: str = Field(description="What it is about, in at most eight words.")
    urgency: int = Field(description="From 1, when there is time, to 5, when somebody is in danger.", ge=1, le=5)
    device: str | None = Field(None, description="The device it is about, by its serial number.")
    steps: list[str] = Field(description="What the customer has tried already, in order.")


def structured_by_tool(bench: Bench, variant: int) -> None:
    rules, asked = SYSTEMS[variant % 3], turn(variant).user
    args = {"subject": "x", "urgency": 1, "steps": []}
    model = Scripted(script=[AIMessage("", tool_calls=[{"name": "Ticket", "args": args, "id": "c"}])])
    prompt = ChatPromptTemplate.from_messages([("system", rules), ("human", "{input}")])
    bench.expect((S, rules), offered([Ticket]), (U, asked))
    (prompt | model.with_structured_output(Ticket)).invoke({"input": asked}, config=bench.config)


def structured_by_format(bench: Bench, variant: int) -> None:
    rules, asked = SYSTEMS[variant % 3], turn(variant).user
    wire = {"name": "Ticket", "schema": Ticket.model_json_schema(), "strict": True}
    form = {"response_format": {"type": "json_schema", "json_schema": wire}}
    schema = COUNTER.count(Prompt(output_schema=read_output_schema(form))).schema
    bench.expect((S, rules), (Component.OUTPUT_SCHEMA, schema), (U, asked))
    Scripted().bind(**form).invoke([("system", rules), ("human", asked)], config=bench.config)


def structured_by_instructions(bench: Bench, variant: int) -> None:
    rules, asked = SYSTEMS[variant % 3], turn(variant).user
    instructions = PydanticOutputParser(pydantic_object=Ticket).get_format_instructions()
    prompt = ChatPromptTemplate.from_messages(
        [("system", rules), ("human", "Write a ticket.\n{format_instructions}\n{question}")]
    ).partial(format_instructions=instructions)
    bench.expect((S, rules), (S, "Write a ticket.\n"), (Component.OUTPUT_SCHEMA, instructions), (U, asked))
    (prompt | Scripted()).invoke({"question": asked}, config=bench.config)


# Agents and graphs ----------------------------------------------------------------------------------------------------

TOOL_TURNS = [t for conversation in WORKLOAD.conversations for t in conversation.turns if len(t.steps) > 1]


def steps_of(asked: Turn) -> list[AIMessage]:
    """Return the recorded rounds of tool calls as the model would ask for them."""
    return [
        AIMessage(
            "" if number % 2 else "Let me look that up.",
            tool_calls=[
                {"name": call.name, "args": dict(call.arguments), "id": f"{asked.id}-{number}-{i}"}
                for i, call in enumerate(step)
            ],
        )
        for number, step in enumerate(asked.steps)
    ]


def an_agent_with_tools(bench: Bench, variant: int) -> None:
    rules, tools = SYSTEMS[variant % 3], desk_tools(Desk(), WORKLOAD.tools)
    model = Scripted()
    agent = create_agent(model, tools, system_prompt=rules, checkpointer=InMemorySaver())
    config = {**bench.config, "configurable": {"thread_id": f"agent-{variant}"}}
    before: list[Piece] = [(S, rules), offered(tools)]
    for asked in islice(cycle(TOOL_TURNS), variant, variant + 2):
        rounds, answer = steps_of(asked), AIMessage(asked.right)
        model.script.extend([*rounds, answer])
        state = agent.invoke({"messages": [HumanMessage(asked.user)]}, config=config)
        loop = state["messages"][-_length(state["messages"]) :]
        before = _expect_loop(bench, before, asked.user, loop)


def _length(messages: Sequence[BaseMessage]) -> int:
    """Return how many messages the newest question began."""
    return next(n for n, message in enumerate(reversed(messages)) if isinstance(message, HumanMessage))


def _expect_loop(bench: Bench, before: list[Piece], asked: str, loop: Sequence[BaseMessage]) -> list[Piece]:
    """Expect one call for each round of *loop*; return what the next turn's prompt begins with."""
    during: list[Piece] = []
    for message in loop:
        if isinstance(message, AIMessage):
            bench.expect(*before, (U, asked), *during)
            during.append(called(message))
        else:
            during.append((RESULTS, str(message.content)))
    after = [(RESULTS, piece) if component is RESULTS else (H, piece) for component, piece in during]
    return [*before, (H, asked), *after]


def an_agent_that_searches(bench: Bench, variant: int) -> None:
    rules, asked, found = SYSTEMS[variant % 3], turn(variant).user, pages(variant, 2)
    search = create_retriever_tool(Found(pages=found), "search_handbook", "Search the handbook of the desk.")
    call = AIMessage("", tool_calls=[{"name": "search_handbook", "args": {"query": asked}, "id": "c1"}])
    agent = create_agent(Scripted(script=[call]), [search], system_prompt=rules)
    head: list[Piece] = [(S, rules), offered([search]), (U, asked)]
    bench.expect(*head)
    bench.expect(*head, called(call), (C, plain(found)))
    agent.invoke({"messages": [("human", asked)]}, config=bench.config)


def an_agent_whose_system_prompt_holds_pages(bench: Bench, variant: int) -> None:
    rules, asked, found = SYSTEMS[variant % 2], turn(variant).user, pages(variant)
    history = past(variant, variant)

    @dynamic_prompt
    def with_pages(request: Any) -> str:
        docs = Found(pages=found).invoke(request.messages[-1].text)
        return f"{rules}\n\nPages that may help:\n{plain(docs)}"

    bench.expect((S, rules), (S, "\n\nPages that may help:\n"), (C, plain(found)), *said(history), (U, asked))
    agent = create_agent(Scripted(), [], middleware=[with_pages])
    agent.invoke({"messages": [*history, HumanMessage(asked)]}, config=bench.config)


class Unmarked(AgentMiddleware[Any, Any, Any]):
    """Takes LangChain's mark off the summary, so that only its words tell what it is."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        bare = [m.model_copy(update={"additional_kwargs": {}}) for m in request.messages]
        return handler(request.override(messages=bare))


def an_agent_that_summarises(bench: Bench, variant: int) -> None:
    rules, asked, history = SYSTEMS[variant % 2], turn(variant).user, past(variant, 8)
    summary = "The customer asked about a delivery, a plan and a device. " * (2 + variant)
    summariser = Scripted(script=[AIMessage(summary)])
    middleware = SummarizationMiddleware(summariser, trigger=("messages", 9), keep=("messages", 5))
    agent = create_agent(Scripted(), [], system_prompt=rules, middleware=[middleware, Unmarked()])
    state = agent.invoke({"messages": [*history, HumanMessage(asked)]}, config=bench.config)
    kept = state["messages"][1:-2]
    old = get_buffer_string(history[: len(history) - len(kept)], format="xml")
    bench.expect((S, DEFAULT_SUMMARY_PROMPT.replace("{messages}", "")), (H, old))
    bench.expect((S, rules), (Component.SUMMARY, str(state["messages"][0].content)), *said(kept), (U, asked))


def a_graph_of_two_speakers(bench: Bench, variant: int) -> None:
    rules, asked = SYSTEMS[variant % 2], turn(variant).user
    draft = turn(variant).right
    writer, critic = Scripted(script=[AIMessage(draft)]), Scripted()
    told = "Criticise the draft above. Name what is missing or wrong, then say whether it may be sent."
    builder = StateGraph(MessagesState)
    builder.add_node("writer", lambda s: {"messages": [writer.invoke([SystemMessage(rules), *s["messages"]])]})
    builder.add_node("critic", lambda s: {"messages": [critic.invoke([SystemMessage(told), *s["messages"]])]})
    builder.add_edge(START, "writer")
    builder.add_edge("writer", "critic")
    builder.add_edge("critic", END)
    bench.expect((S, rules), (U, asked))
    bench.expect((S, told), (U, asked), (Component.AGENT_MESSAGES, draft))
    builder.compile().invoke({"messages": [HumanMessage(asked)]}, config=bench.config)


MEMORIES = (
    "- lives in Graz and has two children\n- owns a Hub 2 and three clamps\n- prefers short answers",
    "The user moved to Oslo in May. They pay yearly. Their wallbox has firmware 4.2. They dislike e-mail.",
)


def a_chain_with_memories(bench: Bench, variant: int) -> None:
    rules, asked, memories = SYSTEMS[variant % 3], turn(variant).user, MEMORIES[variant % 2]
    prompt = ChatPromptTemplate.from_messages(
        [("system", rules + "\n\nWhat is known of the user:\n{memories}"), ("human", "{input}")]
    )
    bench.expect((S, rules), (S, "\n\nWhat is known of the user:\n"), (Component.MEMORY, memories), (U, asked))
    (prompt | Scripted()).invoke({"memories": memories, "input": asked}, config=bench.config)


def an_agent_that_remembers(bench: Bench, variant: int) -> None:
    """The memory stands between tags in the system prompt, as memory services and the providers' guides put it."""
    rules, asked = SYSTEMS[variant % 2], turn(variant).user
    memories = f"<user_profile>\n{MEMORIES[variant % 2]}\n</user_profile>"

    @dynamic_prompt
    def with_memories(request: Any) -> str:
        return f"{rules}\n\n{memories}"

    bench.expect((S, rules), (Component.MEMORY, memories), (U, asked))
    agent = create_agent(Scripted(), [], middleware=[with_memories])
    agent.invoke({"messages": [("human", asked)]}, config=bench.config)


def a_tool_loop_by_hand(bench: Bench, variant: int) -> None:
    """Messages built without any framework around the model, with JSON results."""
    rules, asked = SYSTEMS[variant % 3], TOOL_TURNS[variant % len(TOOL_TURNS)]
    tools, desk = WORKLOAD.tools[variant : variant + 6], Desk()
    call = steps_of(asked)[0]
    results = [ToolMessage(desk.call(c["name"], c["args"]), tool_call_id=str(c["id"])) for c in call.tool_calls]
    history = past(variant + 2, 2)
    bench.expect(
        (S, rules), offered([tool.raw for tool in tools]), *said(history), (U, asked.user), called(call),
        *((RESULTS, str(r.content)) for r in results),
    )  # fmt: skip
    model = Scripted().bind(tools=[json.loads(json.dumps(tool.raw)) for tool in tools])
    model.invoke([SystemMessage(rules), *history, HumanMessage(asked.user), call, *results], config=bench.config)


def answers_refined_page_by_page(bench: Bench, variant: int) -> None:
    asked, found = turn(variant).user, pages(variant, 3)
    first = "Context:\n{context}\nAnswer the question: {question}"
    again = (
        "The original question is: {question}\nWe have an existing answer: {existing_answer}\nRefine it, only if "
        "needed, with more context below.\n------------\n{context}\n------------\nRefined answer:"
    )
    answers = [f"{turn(variant, n).right} So much is certain from what has been read." for n in range(3)]
    model = Scripted(script=[AIMessage(a) for a in answers])
    opening, refining = (ChatPromptTemplate.from_template(t) | model | StrOutputParser() for t in (first, again))

    def refine(question: str) -> str:
        docs = Found(pages=found).invoke(question)
        answer: str = opening.invoke({"context": docs[0].page_content, "question": question})
        for page in docs[1:]:
            answer = refining.invoke({"context": page.page_content, "question": question, "existing_answer": answer})
        return answer

    bench.expect(*((S, t) for t in filled(first, context="", question="")), (C, found[0].page_content), (U, asked))
    for page, answer in zip(found[1:], answers, strict=False):
        fixed = filled(again, context="", question="", existing_answer="")
        bench.expect(*((S, t) for t in fixed), (C, page.page_content), (U, asked), (Component.AGENT_MESSAGES, answer))
    RunnableLambda(refine).invoke(asked, config=bench.config)


# Without a framework around the texts ---------------------------------------------------------------------------------

BY_HAND = (
    ("{rules}\n\nContext:\n{context}\n\nQuestion: {question}", True),
    ("{rules}\n\n<documents>\n{context}\n</documents>\n\nQuestion: {question}\nAnswer:", True),
    ("### Retrieved context:\n{context}\n\n### Question:\n{question}", False),
)


def context_pasted_by_hand(bench: Bench, variant: int) -> None:
    """An f-string, a search that no callback sees: only the words around the parts tell what they are."""
    template, has_rules = BY_HAND[variant % 3]
    rules, asked, context = SYSTEMS[variant % 2] if has_rules else "", turn(variant).user, plain(pages(variant))
    bench.expect(
        (S, rules), *((S, t) for t in filled(template, rules="", context="", question="")), (C, context), (U, asked)
    )
    text = template.format(rules=rules, context=context, question=asked)
    Scripted().invoke([HumanMessage(text)], config=bench.config)


def a_transcript_pasted_by_hand(bench: Bench, variant: int) -> None:
    history, asked = past(variant, 2 + variant % 4), turn(variant).user
    written = "\n".join(f"{'User' if m.type == 'human' else 'Assistant'}: {m.content}" for m in history)
    head = SYSTEMS[variant % 2]
    bench.expect((S, head), (H, written), (U, f"\nUser: {asked}\nAssistant:"))
    text = f"Conversation:\n{written}\nUser: {asked}\nAssistant:"
    Scripted().invoke([SystemMessage(head), HumanMessage(text)], config=bench.config)


def examples_with_the_providers_names(bench: Bench, variant: int) -> None:
    rules, asked, shots = SYSTEMS[variant % 3], turn(variant).user, WORKLOAD.few_shot[: 2 + variant % 3]
    examples: list[BaseMessage] = []
    for question, answer in shots:
        examples += [SystemMessage(question, name="example_user"), SystemMessage(answer, name="example_assistant")]
    names = COUNTER.count(Prompt(messages=tuple(to_message(snapshot(m)) for m in examples)))
    bench.expect((S, rules), *said(examples, FEW), (FEW, sum(m.name for m in names.messages)), (U, asked))
    Scripted().invoke([SystemMessage(rules), *examples, HumanMessage(asked)], config=bench.config)


def a_template_inside_a_graphs_node(bench: Bench, variant: int) -> None:
    rules, asked, found, history = SYSTEMS[variant % 3], turn(variant).user, pages(variant), past(variant, 2)
    prompt = ChatPromptTemplate.from_messages(
        [("system", rules + "\n\nFrom the handbook:\n{material}"), MessagesPlaceholder("so_far"), ("human", "{ask}")]
    )
    model = Scripted()

    def node(state: MessagesState) -> dict[str, Any]:
        question = str(state["messages"][-1].content)
        docs = Found(pages=found).invoke(question)
        filled_in = prompt.invoke({"material": titled(docs), "so_far": state["messages"][:-1], "ask": question})
        return {"messages": [model.invoke(filled_in)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", node)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    bench.expect((S, rules), (S, "\n\nFrom the handbook:\n"), (C, titled(found)), *said(history), (U, asked))
    builder.compile().invoke({"messages": [*history, HumanMessage(asked)]}, config=bench.config)


BUILDERS: tuple[Callable[[Bench, int], None], ...] = (
    context_in_the_system_message,
    context_in_the_human_message,
    context_with_history_and_examples,
    examples_in_one_string,
    a_plain_conversation,
    a_question_made_to_stand_alone,
    history_that_holds_earlier_pages,
    structured_by_tool,
    structured_by_format,
    structured_by_instructions,
    an_agent_with_tools,
    an_agent_that_searches,
    an_agent_whose_system_prompt_holds_pages,
    an_agent_that_summarises,
    a_graph_of_two_speakers,
    a_chain_with_memories,
    an_agent_that_remembers,
    a_tool_loop_by_hand,
    answers_refined_page_by_page,
    context_pasted_by_hand,
    a_transcript_pasted_by_hand,
    examples_with_the_providers_names,
    a_template_inside_a_graphs_node,
)
