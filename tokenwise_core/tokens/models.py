"""Which tokeniser and which prompt template a model name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Template = Literal["cl100k", "o200k", "reasoning", "estimated"]
Image = Literal["tiles", "patches", "anthropic", "gemini", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that count alike.

    For templates that OpenAI's rendering reproduces the factors are unused. For the others
    tokens ≈ *text* · o200k(text) + *per_message* · messages + *constant*, and with tools + *tools* · o200k(tool JSON)
    + *tools_constant*; measured on recordings of other prompts (research §3), corrected online from reported usage.
    """

    name: str
    template: Template = "estimated"
    encoding: str = "o200k_base"
    text: float = 1.0
    per_message: float = 4.0
    constant: float = 3.0
    tools: float = 1.0
    tools_constant: float = 0.0
    image: Image = "unknown"
    routed: bool = False


UNKNOWN = Family(name="unknown")
_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"gpt-oss", Family(name="gpt-oss", encoding="o200k_harmony", constant=68.0)),
    (r"^(o\d|gpt-([5-9]|\d\d)(?!.*chat)|computer-use|codex)", Family(name="openai-reasoning", template="reasoning", image="patches")),
    (r"^gpt-4\.1-(mini|nano)", Family(name="openai-o200k-small", template="o200k", image="patches")),
    (r"^(gpt-4o|gpt-4\.[1-9]|chatgpt-|gpt-[5-9])", Family(name="openai-o200k", template="o200k", image="tiles")),
    (r"^(gpt-4|gpt-3\.5|gpt-35)", Family(name="openai-cl100k", template="cl100k", encoding="cl100k_base", image="tiles")),
    (
        r"claude.*(opus-4-[7-9]|sonnet-4-[7-9]|haiku-4-[7-9]|(opus|sonnet|haiku|fable|mythos)-[5-9])|claude-[5-9]",
        Family(name="claude-new", text=1.4, per_message=4.0, constant=4.0, tools=1.4, tools_constant=600.0, image="anthropic"),
    ),
    (r"claude", Family(name="claude", text=1.1, per_message=3.0, constant=4.0, tools=0.95, tools_constant=400.0, image="anthropic")),
    (r"gemini", Family(name="gemini", text=1.01, per_message=0.0, constant=0.0, image="gemini")),
    (r"gemma", Family(name="gemma", text=1.02, per_message=4.0)),
    (r"nova|titan", Family(name="nova", text=1.12, per_message=0.0, constant=0.0, tools_constant=945.0)),
    (r"llama", Family(name="llama", text=1.0, per_message=4.0)),
    (r"magistral|mi[sn]is?tral|pixtral|codestral|devstral|mixtral", Family(name="mistral", text=1.1, per_message=2.0)),
    (r"qwen|qwq", Family(name="qwen", text=1.03, per_message=5.0)),
    (r"deepseek", Family(name="deepseek", text=1.03, per_message=2.0)),
    (r"glm|z-ai|zai", Family(name="glm", text=1.0, per_message=3.0)),
    (r"grok", Family(name="grok", text=1.0, per_message=4.0)),
    (r"command", Family(name="command", text=1.05, per_message=4.0)),
    (r"kimi|moonshot", Family(name="kimi", text=1.0, per_message=4.0)),
)
_PATTERNS = tuple((re.compile(pattern), family) for pattern, family in _FAMILIES)

_REGION = re.compile(r"^(us|eu|apac|jp|au|global|us-gov|ca)\.(?=[a-z]+\.)")
_VENDOR = re.compile(r"^(anthropic|amazon|meta|mistral|deepseek|openai|google|qwen|cohere|moonshot|moonshotai|writer)\.")
_REVISION = re.compile(r"(-v\d+)?:\d+$")


@lru_cache(maxsize=1024)
def base_name(model: str) -> str:
    """Return the model's own name: without provider, region, fine-tune or route, lower case.

    >>> base_name("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    'claude-sonnet-4-5-20250929'
    >>> base_name("ft:gpt-4o-mini-2024-07-18:acme::abc")
    'gpt-4o-mini-2024-07-18'
    """
    name = model.strip().lower()
    name = name.removeprefix("ft:").split(":")[0] if name.startswith("ft:") else name
    name = name.rsplit("/", 1)[-1]
    name = _REVISION.sub("", name)
    before, colon, after = name.partition(":")
    if colon:  # "openai:gpt-5-mini" names a provider first, "gpt-oss:20b" and "…:free" a variant last
        name = before if _matches(before) or not _matches(after) else after
    name = _REGION.sub("", name)
    return _VENDOR.sub("", name)


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """Return the family of a model name, `UNKNOWN` for a name that says nothing (an Azure deployment)."""
    family = _matches(base_name(model)) or UNKNOWN
    return replace(family, routed=True) if family.template == "reasoning" and "/" in model else family


def _matches(name: str) -> Family | None:
    name = name.replace(".", "-") if "claude" in name else name
    return next((family for pattern, family in _PATTERNS if pattern.search(name)), None)
