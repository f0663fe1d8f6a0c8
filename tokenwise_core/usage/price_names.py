"""Find a model in the price list by the many names that frameworks, gateways and clouds give it, never by guess.

genai-prices matches some names by "contains" or "starts with", so that a fine-tune or a deployment whose name merely
begins like a model's would get that model's price. Here a loose match counts only where the rest of the name is a
date, a version or a region.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    MatchLogic,
    ModelInfo,
    Provider,
)

Found = tuple[Provider, ModelInfo]

_PROVIDERS = {
    "openai": "openai", "azure": "azure", "anthropic": "anthropic", "google": "google", "gemini": "google",
    "vertexai": "google", "vertex-ai": "google", "aws": "aws", "bedrock": "aws", "mistral": "mistral",
    "mistralai": "mistral", "groq": "groq", "openrouter": "openrouter", "deepseek": "deepseek", "xai": "x-ai",
    "x-ai": "x-ai", "cohere": "cohere", "perplexity": "perplexity", "together": "together", "together-ai": "together",
    "fireworks": "fireworks", "fireworks-ai": "fireworks", "cerebras": "cerebras", "moonshot": "moonshotai",
    "moonshotai": "moonshotai", "zai": "zai", "z-ai": "zai", "zhipuai": "zhipuai", "minimax": "minimax",
    "voyage": "voyageai", "voyageai": "voyageai", "novita": "novita", "databricks": "databricks",
    "baseten": "baseten", "cloudflare": "cloudflare", "ovhcloud": "ovhcloud", "github-copilot": "github-copilot",
    "google-genai": "google", "google-vertexai": "google", "google-vertex": "google", "google-gla": "google",
    "google-anthropic-vertex": "google", "azure-openai": "azure", "azure-ai": "azure", "amazon-bedrock": "aws",
    "bedrock-converse": "aws", "anthropic-bedrock": "aws", "avian": "avian", "meta": "meta",
    "arcee": "arcee", "modal": "modal",
}  # fmt: skip
_CONTAINED = (
    ("azure", "azure"), ("bedrock", "aws"), ("vertex", "google"), ("gemini", "google"), ("genai", "google"),
    ("google", "google"), ("openrouter", "openrouter"), ("anthropic", "anthropic"), ("mistral", "mistral"),
    ("together", "together"), ("fireworks", "fireworks"), ("deepseek", "deepseek"), ("cohere", "cohere"),
    ("groq", "groq"), ("cerebras", "cerebras"), ("perplexity", "perplexity"), ("databricks", "databricks"),
)  # fmt: skip
_OWN_MACHINE = (
    "ollama", "llamacpp", "llama-cpp", "vllm", "lmstudio", "lm-studio", "llamafile", "localai", "xinference", "tgi",
    "huggingface", "transformers", "mlx",
)  # fmt: skip
_MAKERS = (
    "openai", "anthropic", "google", "mistral", "x-ai", "deepseek", "cohere", "perplexity", "moonshotai", "zai",
    "zhipuai", "minimax", "meta", "voyageai",
)  # fmt: skip
_BEDROCK = re.compile(
    r"^(?:(?:us|eu|apac|global|jp|au|ca|us-gov)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai|google|nvidia|minimax|moonshot|writer|zai)\.[a-z]"
)
_BEFORE = re.compile(
    r"(?:(?:us|eu|apac|global|jp|au|ca|us-gov|regional|anthropic|amazon|meta|mistral|cohere|deepseek|openai|google)\.)*\Z"
)
_VERSION = r"(?:latest|preview|v\d+|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{1,2}-\d{2}|\d{3,8}|(?<=:)\d)"
_AFTER = re.compile(rf"(?:[-@:._]*{_VERSION}(?:[-@:._]+{_VERSION})*)?[-@:._]*\Z")
_LONGEST_NAME = 256
_PATHS = re.compile(r"^(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/")
_TURNED = re.compile(r"^claude-(\d(?:[.-]\d)?)-(opus|sonnet|haiku)")
_DATED = re.compile(r"[-@](20\d{2})-?([01]\d)-?([0-3]\d)\Z")


def find_model(prices: DataSnapshot, model: str, provider: str | None) -> Found | None:
    """Return the entry that *model* certainly is, or None.

    *provider* is any framework's name for it. A host's name finds only models that this host sells; "openai" may
    also be a gateway that speaks its protocol, so there, as with unknown hosts, the makers are asked in turn. What
    runs on one's own machine has no price.
    """
    name = _PATHS.sub("", model.strip().lower())
    if name.startswith("arn:"):  # arn:aws:bedrock:REGION:ACCOUNT:inference-profile/us.anthropic...
        name = name.rpartition("/")[2]
    host = provider_id(provider)
    if not name or len(name) > _LONGEST_NAME or host == "local":
        return None
    for provider_name, ref in _readings(name, host):
        entry = next((p for p in prices.providers if p.id == provider_name), None)
        found = entry and _in_provider(prices, entry, ref)
        if found:
            return found
    return None


def provider_id(provider: str | None) -> str | None:
    """Return the price list's id of *provider*; "local" for one's own machine, None when unknown."""
    if not provider:
        return None
    name = re.sub(r"[\s_]+", "-", provider.strip().lower()).removesuffix("-llm").removesuffix("-chat")
    if any(own in name for own in _OWN_MACHINE):
        return "local"
    if "like" in name:  # LlamaIndex's OpenAILike: any server
        return None
    if known := _PROVIDERS.get(name):
        return known
    return next((known for part, known in _CONTAINED if part in name), "openai" if "openai" in name else None)


def _readings(name: str, host: str | None) -> Iterator[tuple[str, str]]:
    """Yield what *name* may mean, as (provider, model), the surest first."""
    if host is not None:
        yield host, name
        yield from ((known, tail) for known, tail in _by_prefix(name) if known == host)
    if host not in (None, "openai", "anthropic"):
        return
    if _BEDROCK.match(name):
        yield "aws", name
    if host == "anthropic":
        return
    yield from _by_prefix(name)
    if "/" not in name:
        yield from ((maker, name) for maker in _MAKERS if maker != host)


def _by_prefix(name: str) -> Iterator[tuple[str, str]]:
    """Read `openai:gpt-5` (LangChain), `openai/gpt-5` (LiteLLM, OpenRouter), `bedrock/us.anthropic.claude-...`."""
    for separator in ":/":
        head, _, tail = name.partition(separator)
        known = _PROVIDERS.get(head.replace("_", "-"))
        if known and tail:
            yield known, tail
            return


def _in_provider(prices: DataSnapshot, provider: Provider, ref: str) -> Found | None:
    for candidate in _spellings(ref):
        for seller in _sellers(prices, provider):
            for model in seller.models:
                if _matches(model.match, candidate) and ("ft" in model.id or not candidate.startswith("ft:")):
                    return seller, model
    return None


def _sellers(prices: DataSnapshot, provider: Provider) -> Iterator[Provider]:
    """Yield *provider*, then those whose models it sells at their price (Azure: OpenAI's)."""
    yield provider
    for fallback in provider.fallback_model_providers or ():
        yield from (p for p in prices.providers if p.id == fallback)


def _spellings(ref: str) -> Iterator[str]:
    if ref.startswith("ft:"):  # ft:BASE:organisation:name:id has the price of fine-tunes of BASE
        ref = ":".join(ref.split(":")[:2])
    yield ref
    if dated := _DATED.search(ref):
        yield f"{ref[: dated.start()]}-{'-'.join(dated.groups())}"
        yield ref[: dated.start()]
    elif ref.endswith("-latest"):
        yield ref.removesuffix("-latest")
    turned = _TURNED.sub(r"claude-\2-\1", ref)
    if turned != ref:  # OpenRouter answers claude-4.6-sonnet where it was asked for claude-sonnet-4.6
        yield turned


def _matches(match: MatchLogic, ref: str) -> bool:
    """Tell whether *match* names *ref* whole, but for a date, a version or a region."""
    if isinstance(match, ClauseEquals):
        return ref == match.equals.lower()
    if isinstance(match, ClauseOr):
        return any(_matches(clause, ref) for clause in match.or_)
    if isinstance(match, ClauseAnd):
        return match.is_match(ref) and any(_matches(clause, ref) for clause in match.and_)
    if isinstance(match, ClauseRegex):
        found = re.search(match.regex, ref)
        return found is not None and found.end() > found.start() and _is_rest(ref, found.start(), found.end())
    return _matches_part(match, ref)


def _matches_part(match: ClauseStartsWith | ClauseEndsWith | ClauseContains, ref: str) -> bool:
    if isinstance(match, ClauseStartsWith):
        return ref.startswith(match.starts_with.lower()) and _is_rest(ref, 0, len(match.starts_with))
    if isinstance(match, ClauseEndsWith):
        return ref.endswith(match.ends_with.lower()) and _is_rest(ref, len(ref) - len(match.ends_with), len(ref))
    start = ref.find(match.contains.lower())
    return start >= 0 and _is_rest(ref, start, start + len(match.contains))


def _is_rest(ref: str, start: int, end: int) -> bool:
    return bool(_BEFORE.match(ref[:start])) and bool(_AFTER.match(ref[end:]))
