"""What a text says of itself: the words and tags by which memories, frameworks and prompt guides mark its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenwise_core.usage.components import Component

_SUMMARY = re.compile(
    r"\s*(?:\[?(?:previous|prior|earlier) conversation summary|here is a summary of the conversation"
    r"|(?:this is )?a?\s*summary of (?:the |our )?(?:previous |earlier |prior )?(?:conversation|messages|chat)"
    r"|summary of \d+ (?:earlier )?messages|extractive summary|the following is a summary"
    r"|current summary of|conversation summary)",
    re.IGNORECASE,
)
_OBSERVATION = re.compile(r"\s*Observation: ")
_TRANSCRIPT = re.compile(r'\s*"?Transcript so far: ')  # what LlamaIndex's summary buffer has summarised


def whole_marker(text: str) -> Component | None:
    """Return what a message says at its head that all of it is: a summary, a transcript, a tool's observation."""
    if _SUMMARY.match(text):
        return Component.SUMMARY
    if _TRANSCRIPT.match(text):
        return Component.HISTORY
    if _OBSERVATION.match(text):
        return Component.TOOL_RESULTS
    return None


# Parts of a message ---------------------------------------------------------------------------------------------------

_TAGS = {
    Component.MEMORY: ("memory", "memories", "facts", "user_profile", "user_memories"),
    Component.RETRIEVED_CONTEXT: ("context", "retrieved_context", "documents", "search_results", "passages", "sources"),
    Component.FEW_SHOT: ("examples", "example"),
    Component.HISTORY: ("chat_history", "conversation_history", "conversation"),
    Component.SUMMARY: ("conversation_summary", "chat_summary"),
}
_OF_TAG = {tag: component for component, tags in _TAGS.items() for tag in tags}
_TAGGED = re.compile(rf"<({'|'.join(sorted(_OF_TAG, key=len, reverse=True))})\b[^<>]*>.*?</\1>", re.DOTALL)
_XML_MESSAGES = re.compile(r"<message type=.*</message>", re.DOTALL)  # LangChain's `get_buffer_string(format="xml")`


_WORDED = (  # what stands in the frameworks' own words
    (  # the pydantic output parsers of LlamaIndex and of LangChain
        "JSON schema",
        re.compile(
            r"Here's a JSON schema to follow:\n.*?Output a valid JSON object but do not repeat the schema\."
            r"|The output should be formatted as a JSON instance that conforms to the JSON schema below\..*?"
            r"```\n.*?\n```",
            re.DOTALL,
        ),
        Component.OUTPUT_SCHEMA,
    ),
    (  # a ReAct agent's system prompt: LlamaIndex's list of tools, and their names in the format to follow
        "> Tool Name: ",
        re.compile(
            r"(?:> Tool Name: [^\n]+\nTool Description: .*?\nTool Args: [^\n]*\n*)+|(?<=tool name \(one of )[^)]*",
            re.DOTALL,
        ),
        Component.TOOL_DEFINITIONS,
    ),
    (  # the state of LlamaIndex's agent workflows
        "Current state:\n",
        re.compile(r"\ACurrent state:\n.*?(?=\n\nCurrent message:\n)", re.DOTALL),
        Component.MEMORY,
    ),
)


def marked(text: str) -> Iterator[tuple[int, int, Component]]:
    """Yield the parts that stand between tags which say what they are, or in a wording of the frameworks' own."""
    for sign, pattern, component in _WORDED:
        if sign in text:
            for match in pattern.finditer(text):
                yield match.start(), match.end(), component
    if "<" in text:
        for match in _TAGGED.finditer(text):
            yield match.start(), match.end(), _OF_TAG[match.group(1)]
        for match in _XML_MESSAGES.finditer(text):
            yield match.start(), match.end(), Component.HISTORY


_SPEAKER = re.compile(r"^(?:(human|user|customer)|(ai|assistant|bot))\s*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_LEAST_LINES = 3  # a question and an answer may be quoted; three turns are a conversation


def transcript(text: str, *, asks: bool) -> tuple[int, int] | None:
    """Return where a conversation is written down, line by line with its speakers.

    *asks*: the message is the one that asks, so the last line of the user's is the question and no part of it.
    """
    lines = list(_SPEAKER.finditer(text))
    if lines and lines[-1].group(2) and not text[lines[-1].end() :].strip():
        lines.pop()  # the cue for the answer
    if len(lines) < _LEAST_LINES or not any(line.group(2) for line in lines):
        return None
    last = lines[-1]
    if asks and last.group(1):
        return lines[0].start(), last.start()
    end = text.find("\n\n", last.end())
    return lines[0].start(), end if end >= 0 else len(text)


# Around the question --------------------------------------------------------------------------------------------------

_ASKED = re.compile(
    r"(?:^|\n)[\s#*]*(?:(?:user|customer)(?:'s)? )?(?:question|query|input)[ \t]*\**:\**\s*", re.IGNORECASE
)
_ANSWER_CUE = re.compile(r"\s*(?:\n\s*)?(?:helpful )?answer\s*:\s*$", re.IGNORECASE)
_LONGEST_LABEL = 40
_CONTEXT = re.compile(
    r"(?:^|\n)[ \t#*]*(?:retrieved |relevant |provided )?(?:context|documents?|passages?|pages?|sources?|references?"
    r"|background|knowledge|search results)\b[^\n:]{0,40}:[ \t*]*\n",
    re.IGNORECASE,
)


def context_before_question(text: str) -> tuple[int, int] | None:
    """Return where the context stands between its heading and the "Question:" behind it."""
    question = question_after_cue(text)
    heading = _CONTEXT.search(text, 0, question[0]) if question else None
    if question is None or heading is None:
        return None
    between = text[heading.end() : question[0]]
    cue = between.rstrip().rfind("\n")
    return heading.end(), heading.end() + len(between[: max(cue, 0)].rstrip())


def question_after_cue(text: str) -> tuple[int, int] | None:
    """Return where the question stands behind a "Question:", without the "Answer:" that follows."""
    asked = None
    for asked in _ASKED.finditer(text):  # noqa: B007  the last one counts
        pass
    if asked is None:
        return None
    cue = _ANSWER_CUE.search(text, asked.end())
    return asked.end(), cue.start() if cue else len(text)


def worked_examples(text: str, question: int) -> tuple[int, int] | None:
    r"""Return where worked examples stand before the question at *question*: they begin with the label it has.

    >>> worked_examples("Q: one?\nA: 1\n\nQ: two?\nA:", 17)
    (0, 12)
    """
    line = text.rfind("\n", 0, question) + 1
    label = text[line:question]
    if not label.strip() or len(label) > _LONGEST_LABEL:
        return None
    first = 0 if text.startswith(label) and line else text.find(f"\n{label}", 0, line) + 1
    if not text.startswith(label, first) or first >= line:
        return None
    return first, len(text[:line].rstrip())


_INSTRUCTION = re.compile(r"\b(?:summar(?:y|ise|ize|ies)|extract|conversation|rephrase|condense)\b", re.IGNORECASE)


def is_instruction(text: str) -> bool:
    """Say whether a message around a transcript tells what to do with it, rather than goes on with it."""
    return bool(_INSTRUCTION.search(text))
