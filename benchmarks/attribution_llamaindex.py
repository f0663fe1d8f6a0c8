"""Labelled prompts through LlamaIndex's real engines, memories and agents, on the bundled workload's texts.

No piece bears a tag of ours. Each builder knows what it puts in, and says so to `Bench.expect` in the same breath.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llama_index.core import ChatPromptTemplate, PromptHelper, PromptTemplate
from llama_index.core.agent.react.formatter import get_react_tool_descriptions
from llama_index.core.agent.react.prompts import REACT_CHAT_SYSTEM_HEADER
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.condense_plus_context import (
    DEFAULT_CONDENSE_PROMPT_TEMPLATE,
    DEFAULT_CONTEXT_PROMPT_TEMPLATE,
)
from llama_index.core.chat_engine.condense_question import DEFAULT_TEMPLATE as CONDENSE_QUESTION
from llama_index.core.chat_engine.context import DEFAULT_CONTEXT_TEMPLATE
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer, Memory, StaticMemoryBlock
from llama_index.core.memory.chat_summary_memory_buffer import SUMMARIZE_PROMPT
from llama_index.core.memory.memory import InsertMethod
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.prompts.chat_prompts import (
    CHAT_REFINE_PROMPT,
    CHAT_TEXT_QA_PROMPT,
    CHAT_TREE_SUMMARIZE_PROMPT,
)
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import RetrieverTool, ToolMetadata

from benchmarks.labelled import Labelled
from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Turn, load_workload
from tokenwise_core.messages import Answer, Message, Prompt, ToolCall
from tokenwise_core.testing import Replay, ReplayAnswer
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.store import MemoryStore
from tokenwise_llamaindex import ReplayLLM, TokenBreakdownHandler
from tokenwise_llamaindex.convert import to_tools
from tokenwise_llamaindex.demo import desk_tools

MODEL = "gpt-4o-mini"
COUNTER = TokenCounter.for_model(MODEL, provider="openai")
WORKLOAD = load_workload()
NODES = [TextNode(id_=page.id, text=page.text, metadata={"title": page.title}) for page in WORKLOAD.documents]
ANSWERABLE = [t for c in WORKLOAD.conversations for t in c.turns if t.kind == "document" and len(t.user) > 40]
SYSTEMS = (
    "You are the support desk of Ostrel. Be brief, exact and friendly; say so if you do not know.",
    "You answer questions about home-energy devices. Use at most three sentences. Promise nothing that is not written.",
    WORKLOAD.system_prompt,
)
VARIANTS = 6

S, C, H, U = Component.SYSTEM_PROMPT, Component.RETRIEVED_CONTEXT, Component.HISTORY, Component.USER_INPUT
AGENT, TOOLS, RESULTS = Component.AGENT_MESSAGES, Component.TOOL_DEFINITIONS, Component.TOOL_RESULTS
Piece = tuple[Component, str | int]


class Script(Replay):
    """Says what it is told to say, and reports the size of the prompt that it received."""

    def __init__(self, lines: Sequence[str | ToolCall] = ()) -> None:
        super().__init__((), tier="cheap", counter=COUNTER)
        self.lines = list(lines)

    @property
    def model(self) -> str:
        return MODEL

    def _decide(self, prompt: Prompt) -> ReplayAnswer:
        line = self.lines.pop(0) if self.lines else "Noted."
        answer = Answer(tool_calls=(line,)) if isinstance(line, ToolCall) else Answer(text=line)
        return ReplayAnswer(answer=answer, usage={}, why="scripted")


class Found(BaseRetriever):
    """Returns the pages that it is given."""

    def __init__(self, nodes: Sequence[TextNode]) -> None:
        super().__init__()
        self._nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=node, score=1.0) for node in self._nodes]


class Bench:
    """A handler, what is expected of its next events, and the rows that come of both."""

    def __init__(self, handler: TokenBreakdownHandler) -> None:
        self.handler = handler
        self._expected: list[Counter[Component]] = []

    def expect(self, *pieces: Piece) -> None:
        """Say what the next call's prompt is made of."""
        truth: Counter[Component] = Counter()
        for component, piece in pieces:
            truth[component] += piece if isinstance(piece, int) else COUNTER.text(piece)
        self._expected.append(truth)

    def rows(self, name: str) -> Iterator[Labelled]:
        """Yield the labelled calls so far."""
        events = [event for event in self.handler.events() if event.operation != "embedding"]
        if len(events) != len(self._expected):
            raise RuntimeError(f"{name}: {len(events)} calls, {len(self._expected)} expected")
        yield from (Labelled(event=e, truth=t) for e, t in zip(events, self._expected, strict=True))


def prompts() -> Iterator[Labelled]:
    """Yield every labelled prompt, each builder in several variants."""
    for build in BUILDERS:
        for variant in range(VARIANTS):
            with TokenBreakdownHandler(store=MemoryStore(), log=False) as handler:
                bench = Bench(handler)
                build(bench, variant)
                yield from bench.rows(build.__name__)


# Texts ----------------------------------------------------------------------------------------------------------------


def scripted(*lines: str | ToolCall, window: int = 128_000) -> ReplayLLM:
    return ReplayLLM(replay=Script(lines), context_window=window)


def turn(variant: int, step: int = 0) -> Turn:
    return ANSWERABLE[(13 * variant + 7 * step) % len(ANSWERABLE)]


def pages(variant: int, count: int = 3) -> list[TextNode]:
    return [NODES[(5 * variant + 11 * i) % len(NODES)] for i in range(count)]


def shown(node: TextNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.LLM)


def context(nodes: Sequence[TextNode]) -> list[Piece]:
    return [(C, shown(node)) for node in nodes]


def past(variant: int, rounds: int) -> list[ChatMessage]:
    """Return some rounds of a conversation of the workload."""
    conversation = WORKLOAD.conversations[(variant + 3) % len(WORKLOAD.conversations)]
    messages = []
    for told in conversation.turns[:rounds]:
        messages += [ChatMessage(role="user", content=told.user), ChatMessage(role="assistant", content=told.right)]
    return messages


def told(messages: Sequence[ChatMessage], component: Component = H) -> list[Piece]:
    return [(component, message.content or "") for message in messages]


def fixed(template: str | ChatPromptTemplate) -> list[Piece]:
    """Return the fixed words of a template, cut at its variables."""
    if isinstance(template, ChatPromptTemplate):
        return [piece for message in template.message_templates for piece in fixed(message.content or "")]
    return [(S, part) for part in re.split(r"\{[a-z_]+\}", template) if part.strip()]


def written_out(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(f"{message.role.value}: {message.content}" for message in messages)


def offered(tools: Sequence[Any]) -> Piece:
    """Return what the definitions of *tools* take in a prompt."""
    count = COUNTER.count(Prompt(tools=to_tools({"tools": list(tools)})))
    return TOOLS, sum(count.tools) + count.tools_overhead


def called(call: ToolCall) -> Piece:
    """Return what a tool call takes in a prompt that shows it to the model again."""
    messages = (Message(role="user", text="x"), Message(role="assistant", tool_calls=(call,)))
    return AGENT, COUNTER.count(Prompt(messages=messages)).messages[1].tool_calls


# Query engines --------------------------------------------------------------------------------------------------------


def one_prompt(mode: ResponseMode, template: ChatPromptTemplate) -> Callable[[Bench, int], None]:
    def build(bench: Bench, variant: int) -> None:
        asked, found = turn(variant).user, pages(variant, 2 + variant % 3)
        engine = RetrieverQueryEngine.from_args(Found(found), llm=scripted(), response_mode=mode)
        bench.expect(*fixed(template), *context(found), (U, asked))
        engine.query(asked)

    build.__name__ = f"query_{mode.value}"
    return build


def query_refine(bench: Bench, variant: int) -> None:
    asked, found = turn(variant).user, pages(variant, 3)
    answers = [turn(variant, step).right for step in range(3)]
    engine = RetrieverQueryEngine.from_args(Found(found), llm=scripted(*answers), response_mode=ResponseMode.REFINE)
    bench.expect(*fixed(CHAT_TEXT_QA_PROMPT), *context(found[:1]), (U, asked))
    for node, answer in zip(found[1:], answers, strict=False):
        bench.expect(*fixed(CHAT_REFINE_PROMPT), *context([node]), (U, asked), (AGENT, answer))
    engine.query(asked)


def query_tree_of_summaries(bench: Bench, variant: int) -> None:
    """Pages that do not fit are summarised each, then the summaries together."""
    asked, found = turn(variant).user, pages(variant, 3)
    size = max(COUNTER.text(shown(node)) for node in found) + 20
    helper = PromptHelper(chunk_size_limit=size)
    chunks = helper.repack(CHAT_TREE_SUMMARIZE_PROMPT, [shown(node) for node in found])
    answers = [turn(variant, step).right for step in range(len(chunks))]
    synthesizer = get_response_synthesizer(
        llm=scripted(*answers), response_mode=ResponseMode.TREE_SUMMARIZE, prompt_helper=helper
    )
    for chunk in chunks:
        bench.expect(*fixed(CHAT_TREE_SUMMARIZE_PROMPT), (C, chunk), (U, asked))
    summaries = [(Component.SUMMARY, answer) for answer in answers]
    bench.expect(*fixed(CHAT_TREE_SUMMARIZE_PROMPT), *summaries, (U, asked))
    RetrieverQueryEngine(Found(found), response_synthesizer=synthesizer).query(asked)


def query_with_examples(bench: Bench, variant: int) -> None:
    asked, found, rules = turn(variant).user, pages(variant), SYSTEMS[variant % 3]
    examples = [
        ChatMessage(role=role, content=text)
        for question, answer in WORKLOAD.few_shot[: 2 + variant % 3]
        for role, text in (("user", question), ("assistant", answer))
    ]
    asks = ChatMessage(role="user", content="Handbook pages:\n\n{context_str}\n\nThe customer asks: {query_str}")
    template = ChatPromptTemplate([ChatMessage(role="system", content=rules), *examples, asks])
    engine = RetrieverQueryEngine.from_args(Found(found), llm=scripted(), text_qa_template=template)
    bench.expect(
        (S, rules), *told(examples, Component.FEW_SHOT), *fixed(asks.content or ""), *context(found), (U, asked)
    )
    engine.query(asked)


# Chat engines ---------------------------------------------------------------------------------------------------------


def chat_context(bench: Bench, variant: int) -> None:
    rules, found, history = SYSTEMS[variant % 3], pages(variant), past(variant, 1 + variant)
    llm = scripted(*(turn(variant, step).right for step in range(3)))
    memory = ChatMemoryBuffer.from_defaults(chat_history=list(history), token_limit=60_000)
    engine = ContextChatEngine.from_defaults(Found(found), memory=memory, llm=llm, system_prompt=rules)
    for step in range(3):
        asked = turn(variant, step)
        bench.expect((S, rules), *fixed(DEFAULT_CONTEXT_TEMPLATE), *context(found), *told(history), (U, asked.user))
        if variant % 2:
            engine.chat(asked.user)
        else:
            assert "".join(engine.stream_chat(asked.user).response_gen)
        history += [ChatMessage(role="user", content=asked.user), ChatMessage(role="assistant", content=asked.right)]


def chat_condense_plus_context(bench: Bench, variant: int) -> None:
    rules, found, history = SYSTEMS[variant % 3], pages(variant), past(variant, 1 + variant % 4)
    asked, alone = turn(variant).user, turn(variant, 1).user
    memory = ChatMemoryBuffer.from_defaults(chat_history=list(history), token_limit=60_000)
    engine = CondensePlusContextChatEngine.from_defaults(
        Found(found), memory=memory, llm=scripted(alone), system_prompt=rules
    )
    bench.expect(*fixed(DEFAULT_CONDENSE_PROMPT_TEMPLATE), (H, written_out(history)), (U, asked))
    bench.expect((S, rules), *fixed(DEFAULT_CONTEXT_PROMPT_TEMPLATE), *context(found), *told(history), (U, asked))
    engine.chat(asked)


def chat_condense_question(bench: Bench, variant: int) -> None:
    found, history, llm = pages(variant), past(variant, 1 + variant % 4), scripted(turn(variant, 1).user)
    asked, alone = turn(variant).user, turn(variant, 1).user
    engine = CondenseQuestionChatEngine.from_defaults(
        RetrieverQueryEngine.from_args(Found(found), llm=llm), chat_history=list(history), llm=llm
    )
    bench.expect(*fixed(CONDENSE_QUESTION), (H, written_out(history)), (U, asked))
    bench.expect(*fixed(CHAT_TEXT_QA_PROMPT), *context(found), (U, alone))
    engine.chat(asked)


def chat_simple_with_memory_blocks(bench: Bench, variant: int) -> None:
    """LlamaIndex's `Memory` writes what its blocks hold in front of the system text, or of the newest question."""
    rules, history, asked = SYSTEMS[variant % 3], past(variant, 1 + variant), turn(variant).user
    fact = f"The customer has {2 + variant} devices, lives in house number {variant + 7} and wants to be called Doctor."
    method = (InsertMethod.SYSTEM, InsertMethod.USER)[variant % 2]
    memory = Memory.from_defaults(
        session_id=f"m{variant}",
        token_limit=60_000,
        insert_method=method,
        memory_blocks=[StaticMemoryBlock(name="profile", static_content=fact, priority=0)],
        chat_history=list(history),
    )
    engine = SimpleChatEngine.from_defaults(llm=scripted(), memory=memory, system_prompt=rules)
    block = f"<memory>\n<profile>\n{fact}\n</profile>\n</memory>"
    bench.expect((S, rules), *told(history), (Component.MEMORY, block), (U, asked))
    engine.chat(asked)


def chat_simple_with_a_summary(bench: Bench, variant: int) -> None:
    """What does not fit is summarised by the model into a system message, again with each turn."""
    rules, history, asked = SYSTEMS[variant % 2], past(variant, 4), turn(variant).user
    summary = " ".join(message.content or "" for message in history[:4])[:400]
    llm = scripted(summary)
    newest = history[-2:]
    limit = (
        sum(COUNTER.text(message.content or "") for message in newest) + COUNTER.text(asked) + COUNTER.text(rules) + 6
    )
    memory = ChatSummaryMemoryBuffer.from_defaults(
        chat_history=list(history), llm=llm, token_limit=limit, tokenizer_fn=lambda text: [0] * COUNTER.text(text)
    )
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt=rules)
    older = "".join(f"{message.role.value}: {message.content}\n\n" for message in history[:-2])
    bench.expect((S, SUMMARIZE_PROMPT), (H, f'"Transcript so far: {older}"'))
    bench.expect((S, rules), (Component.SUMMARY, summary), *told(newest), (U, asked))
    engine.chat(asked)


# Agents ---------------------------------------------------------------------------------------------------------------

CALLS = [(c, t.steps[0][0]) for c in WORKLOAD.conversations for t in c.turns if t.steps]


def agent_with_tools(bench: Bench, variant: int) -> None:
    rules, history, asked = SYSTEMS[variant % 3], past(variant, 1 + variant % 3), turn(variant).user
    desk, tools = Desk(), list(desk_tools(Desk(), WORKLOAD.tools))
    made = [CALLS[(3 * variant + step) % len(CALLS)][1] for step in range(2)]
    calls = [ToolCall(name=c.name, arguments=_json(c.arguments), id=f"c{i}") for i, c in enumerate(made)]
    results = [desk.call(call.name, call.arguments) for call in made]
    llm = scripted(*calls, "Done, and noted.")
    agent = FunctionAgent(tools=tools, llm=llm, system_prompt=rules, streaming=bool(variant % 2))
    memory = ChatMemoryBuffer.from_defaults(chat_history=list(history), token_limit=60_000)
    steps: list[Piece] = []
    for step in range(3):
        bench.expect((S, rules), offered(tools), *told(history), (U, asked), *steps)
        if step < 2:
            steps += [called(calls[step]), (RESULTS, results[step])]
    _awaited(agent, asked, memory)


def agent_with_memory_blocks(bench: Bench, variant: int) -> None:
    rules, history, asked = SYSTEMS[variant % 3], past(variant, 2), turn(variant).user
    fact = f"The customer's hub is in room {variant + 1}, runs since 2023 and was repaired {variant} times so far."
    memory = Memory.from_defaults(
        session_id=f"a{variant}",
        token_limit=60_000,
        insert_method=(InsertMethod.SYSTEM, InsertMethod.USER)[variant % 2],
        memory_blocks=[StaticMemoryBlock(name="facts", static_content=fact)],
        chat_history=list(history),
    )
    tools = list(desk_tools(Desk(), WORKLOAD.tools))[: 3 + variant]
    block = f"<memory>\n<facts>\n{fact}\n</facts>\n</memory>"
    bench.expect((S, rules), offered(tools), *told(history), (Component.MEMORY, block), (U, asked))
    _awaited(FunctionAgent(tools=tools, llm=scripted(), system_prompt=rules, streaming=False), asked, memory)


def agent_that_retrieves(bench: Bench, variant: int) -> None:
    """What a retriever gives a tool stays retrieved text."""
    rules, found, asked = SYSTEMS[variant % 2], pages(variant, 2), turn(variant).user
    tool = RetrieverTool(Found(found), ToolMetadata(name="handbook", description="Search the handbook's pages."))
    call = ToolCall(name="handbook", arguments=_json({"input": asked}), id="c")
    bench.expect((S, rules), offered([tool]), (U, asked))
    bench.expect((S, rules), offered([tool]), (U, asked), called(call), *context(found))
    _awaited(FunctionAgent(tools=[tool], llm=scripted(call), system_prompt=rules, streaming=False), asked)


def agent_react(bench: Bench, variant: int) -> None:
    asked, history = turn(variant).user, past(variant, 1 + variant % 3)
    desk, tools = Desk(), list(desk_tools(Desk(), WORKLOAD.tools))[: 4 + 3 * variant]
    made = next(c for _, c in CALLS[variant:] if c.name in {tool.metadata.name for tool in tools})
    thought = "The current language of the user is: English. I need to use a tool to help me answer the question."
    step = f"Thought: {thought}\nAction: {made.name}\nAction Input: {_json(made.arguments)}"
    llm = scripted(step, "Thought: I can answer without using any more tools.\nAnswer: Done.")
    described = "\n".join(get_react_tool_descriptions(tools))
    names = ", ".join(str(tool.metadata.name) for tool in tools)
    header = REACT_CHAT_SYSTEM_HEADER.replace("{{", "{").replace("}}", "}").replace("{context_prompt}", "")
    words = [(S, part) for part in re.split(r"\{tool_desc\}|\{tool_names\}", header)]
    begin: list[Piece] = [*words, (TOOLS, described), (TOOLS, names), *told(history), (U, asked)]
    bench.expect(*begin)
    kept = f"Thought: {thought}\nAction: {made.name}\nAction Input: {dict(made.arguments)}"
    bench.expect(*begin, (AGENT, kept), (RESULTS, f"Observation: {desk.call(made.name, made.arguments)}"))
    memory = ChatMemoryBuffer.from_defaults(chat_history=list(history), token_limit=60_000)
    _awaited(ReActAgent(tools=tools, llm=llm, streaming=False), asked, memory)


def _awaited(agent: Any, asked: str, memory: Any = None) -> None:
    async def answered() -> None:
        await agent.run(asked, memory=memory)

    asyncio.run(answered())


def _json(value: Any) -> str:
    import json

    return json.dumps(dict(value), ensure_ascii=False)


# Programs -------------------------------------------------------------------------------------------------------------


class Ticket(BaseModel):
    """A ticket for the desk."""

    subject: str = Field(description="What it is about, in at most eight words.")
    urgency: int = Field(description="From 1, when there is time, to 5, when somebody is in danger.")


def program_that_writes_its_schema_down(bench: Bench, variant: int) -> None:
    asked = turn(variant).user
    llm = scripted('{"subject": "x", "urgency": 1}')
    program = LLMTextCompletionProgram.from_defaults(output_cls=Ticket, prompt_template_str="{wish}", llm=llm)
    bench.expect((U, asked), (Component.OUTPUT_SCHEMA, program._output_parser.format("")))
    program(wish=asked)


def program_by_tool(bench: Bench, variant: int) -> None:
    asked, template = turn(variant).user, "Write a ticket about what this customer says.\nCustomer: {input}"
    llm = scripted(ToolCall(name="Ticket", arguments='{"subject": "x", "urgency": 1}', id="c"))
    parameters = Ticket.model_json_schema()
    tool = {"type": "function", "function": {"name": "Ticket", "description": Ticket.__doc__, "parameters": parameters}}
    bench.expect(*fixed(template), offered([tool]), (U, asked))
    llm.structured_predict(Ticket, PromptTemplate(template), input=asked)


BUILDERS: tuple[Callable[[Bench, int], None], ...] = (
    one_prompt(ResponseMode.COMPACT, CHAT_TEXT_QA_PROMPT),
    one_prompt(ResponseMode.SIMPLE_SUMMARIZE, CHAT_TEXT_QA_PROMPT),
    one_prompt(ResponseMode.TREE_SUMMARIZE, CHAT_TREE_SUMMARIZE_PROMPT),
    query_refine,
    query_tree_of_summaries,
    query_with_examples,
    chat_context,
    chat_condense_plus_context,
    chat_condense_question,
    chat_simple_with_memory_blocks,
    chat_simple_with_a_summary,
    agent_with_tools,
    agent_with_memory_blocks,
    agent_that_retrieves,
    agent_react,
    program_that_writes_its_schema_down,
    program_by_tool,
)
