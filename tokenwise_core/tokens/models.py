"""Which tokeniser and which prompt template a model name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Template = Literal["cl100k", "o200k", "reasoning", "estimated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that count alike. *template* says which rendering of OpenAI's is used; only "estimated" has factors.

    Estimated, in tokens of *encoding*: *text* · texts + *per_message* for each turn + *per_system* for each system
    message + *constant*; tools: *tools* · JSON of the definitions + *tools_constant* + *per_tool* for each after the
    first (+ *forced_tools* when a call is required) and *per_call* and *per_result* in the history; an answer schema:
    *schema* · its JSON + *schema_constant*; *thinking* when extended thinking is switched on. *tools_in_words*: of a
    definition only names, types and descriptions count, and *per_property*. *routed*: reached through a router.
    """

    name: str
    template: Template = "estimated"
    encoding: str = "o200k_base"
    routed: bool = False
    text: float = 1.0
    per_message: float = 4.0
    per_system: float = 4.0
    constant: float = 3.0
    tools: float = 1.0
    tools_in_words: bool = False
    per_property: float = 0.0
    tools_constant: float = 10.0
    per_tool: float = 5.0
    forced_tools: float = 0.0
    per_call: float = 8.0
    per_result: float = 4.0
    schema: float = 1.0
    schema_constant: float = 10.0
    thinking: float = 0.0


UNKNOWN = Family(name="unknown")
# Anthropic does not publish a tokeniser. The first 40,000 merges of cl100k come within 2 % of what it reports for long
# English prompts (o200k: 9 to 18 % short), because a smaller vocabulary cuts rare words and capitals as Claude's does.
# All of this was found on one half of the recordings (by cassette) and checked on the other.
_CLAUDE = Family(
    name="claude", encoding="cl100k_40k", per_message=3, per_system=0, constant=4,
    tools_constant=316, per_tool=10, per_call=27, per_result=17, schema_constant=139, thinking=28,
)  # fmt: skip
_CLAUDE_45 = replace(
    _CLAUDE, name="claude-4.5", tools_constant=501, forced_tools=95, per_call=30, per_result=21, thinking=29
)
_CLAUDE_46 = replace(_CLAUDE_45, name="claude-4.6", thinking=28)
_CLAUDE_47 = replace(_CLAUDE_45, name="claude-4.7", text=1.4, tools=1.4, schema=1.4, tools_constant=350, thinking=0)
# Google shows an answer schema to the decoder only: it is not in the prompt count.
_GEMINI = Family(
    name="gemini", per_message=1, per_system=1, constant=0, schema=0, schema_constant=0,
    tools_in_words=True, per_property=10, tools_constant=17, per_tool=17, per_call=4, per_result=4,
)  # fmt: skip
_GEMINI_2 = replace(
    _GEMINI, name="gemini-2.0", per_message=0, per_system=0, per_property=0, tools_constant=2, per_tool=2
)
_NOVA = Family(name="nova", text=1.05, per_message=0, per_system=0, constant=0, tools_constant=355)

_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"gpt-oss", Family(name="gpt-oss", encoding="o200k_harmony", constant=64)),
    (
        r"^(o\d|gpt-([5-9]|[12]\d)(?!.*chat)|computer-use|codex)",
        Family(name="openai-reasoning", template="reasoning"),
    ),
    (r"^(gpt-4o|gpt-4\.[1-9]|chatgpt-|gpt-[5-9])", Family(name="openai-o200k", template="o200k")),
    (
        r"^(gpt-4|gpt-3\.5|gpt-35)",
        Family(name="openai-cl100k", template="cl100k", encoding="cl100k_base"),
    ),
    (r"claude.*(opus|sonnet|haiku)-4-[7-9]|claude-(opus|sonnet|haiku|fable|mythos)-[5-9]|claude-[5-9]", _CLAUDE_47),
    (r"claude.*(opus|sonnet|haiku)-4-6|claude-4-6", _CLAUDE_46),
    (r"claude.*(opus|sonnet|haiku)-4-5|claude-4-5", _CLAUDE_45),
    (r"claude", _CLAUDE),
    (r"gemini-(1|2\.0|pro($|-vision)|exp)", _GEMINI_2),
    (r"gemini", _GEMINI),
    (r"gemma", Family(name="gemma", text=1.02)),
    (r"nova-2", replace(_NOVA, name="nova-2", tools_constant=850)),
    (r"nova|titan", _NOVA),
    (r"llama-?4", Family(name="llama-4", tools_constant=500)),
    (r"llama-?3.[1-3]", Family(name="llama-3", constant=31)),  # the template opens with its cutoff date
    (r"llama", Family(name="llama")),
    (
        r"magistral|ministral|mistral|pixtral|codestral|devstral|mixtral",
        Family(name="mistral", per_message=2, per_system=2, constant=1),
    ),
    (r"qwen|qwq", Family(name="qwen", text=1.03, per_message=5)),
    (r"deepseek", Family(name="deepseek", text=1.03, per_message=2, per_system=0, constant=1)),
    (r"glm|z-ai|zai", Family(name="glm", per_message=3)),
    (r"grok", Family(name="grok")),
    (r"command", Family(name="command", text=1.05)),
    (r"kimi|moonshot", Family(name="kimi")),
    (r"^text-embedding-(3|ada)", Family(name="openai-embedding", template="cl100k", encoding="cl100k_base")),
    (r"embed|minilm|mpnet|\bbge-|\be5-|\bgte-", Family(name="embedding")),
    (r"^replay-", Family(name="replayed", template="o200k")),  # `tokenwise_core.testing.Replay` counts as gpt-4o does
)
_PATTERNS = tuple((re.compile(pattern), family) for pattern, family in _FAMILIES)

_REGION = re.compile(r"^(us|eu|apac|jp|au|global|us-gov|ca)\.(?=[a-z]+\.)")
_VENDOR = re.compile(
    r"^(anthropic|amazon|meta|mistral|deepseek|openai|google|qwen|cohere|moonshot|moonshotai|writer)\."
)
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
    if name.startswith("ft:"):
        return name.removeprefix("ft:").split(":")[0]
    name = _REVISION.sub("", name.rsplit("/", 1)[-1])
    before, _, after = name.partition(":")
    if after:  # "openai:gpt-5-mini" names a provider first, "gpt-oss:20b" and "…:free" a variant last
        name = after if _matches(after) and not _matches(before) else before
    name = _REGION.sub("", name)
    bare = _VENDOR.sub("", name)
    return bare if _matches(bare) or not _matches(name) else name


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """Return the family of a model name, `UNKNOWN` for a name that says nothing (an Azure deployment)."""
    family = _matches(base_name(model)) or UNKNOWN
    return replace(family, routed=True) if family.template == "reasoning" and "/" in model else family


def _matches(name: str) -> Family | None:
    name = name.replace(".", "-") if "claude" in name else name
    return next((family for pattern, family in _PATTERNS if pattern.search(name)), None)
