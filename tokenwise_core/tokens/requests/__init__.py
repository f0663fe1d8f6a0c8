"""Request bodies as they go over the wire, read into a `Prompt`; odd shapes are skipped, never an error."""

from __future__ import annotations

from collections.abc import Mapping

from tokenwise_core.messages import Api, Prompt
from tokenwise_core.tokens.requests.blocks import read_anthropic, read_bedrock
from tokenwise_core.tokens.requests.google import read_google
from tokenwise_core.tokens.requests.openai import read_chat, read_completion, read_responses
from tokenwise_core.tokens.requests.shared import Body, mappings, string

__all__ = ["detect_api", "read_request"]


def detect_api(body: Body) -> Api:
    """Return the API that a request body is written for."""
    if "contents" in body or "systemInstruction" in body or "generationConfig" in body:
        return "google"
    if "inferenceConfig" in body or _is_bedrock_tools(body) or "additionalModelRequestFields" in body:
        return "bedrock"
    if "messages" not in body:
        return "completion" if "prompt" in body and "input" not in body else "responses"
    if _bedrock_content(body):
        return "bedrock"
    if _anthropic_marks(body):
        return "anthropic"
    return "chat"


def read_request(body: Body, api: Api | None = None) -> Prompt:
    """Return the prompt of a request body; *api* is detected when not given."""
    api = api or detect_api(body)
    return _READERS[api](body)


def _is_bedrock_tools(body: Body) -> bool:
    return isinstance(body.get("toolConfig"), Mapping) and "tools" in body["toolConfig"]


def _bedrock_content(body: Body) -> bool:
    """A Converse block has no `type`: its key names it."""
    blocks = (b for m in mappings(body.get("messages")) for b in mappings(m.get("content")))
    first = next(iter(blocks), None)
    return first is not None and "type" not in first


def _anthropic_marks(body: Body) -> bool:
    if "system" in body or "thinking" in body or "anthropic_version" in body:
        return True
    if any("input_schema" in tool for tool in mappings(body.get("tools"))):
        return True
    kinds = {string(b.get("type")) for m in mappings(body.get("messages")) for b in mappings(m.get("content"))}
    if kinds & {"tool_use", "tool_result", "thinking"}:
        return True
    return "max_tokens" in body and "claude" in string(body.get("model")) and not body.get("response_format")


_READERS = {
    "chat": read_chat,
    "responses": read_responses,
    "anthropic": read_anthropic,
    "google": read_google,
    "bedrock": read_bedrock,
    "completion": read_completion,
}
