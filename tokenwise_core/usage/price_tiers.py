"""Our overlay on the price list: what service tiers cost where the list itself does not say."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

OVERLAY_VERSION = "2026-11"
_HALF, _SAME = Fraction(1, 2), Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """All token rates of *provider* are multiplied by *factor* on *tier*; *read* is when the source was read."""

    provider: str
    tier: str
    factor: Fraction
    source: str
    read: str = "2026-11"


TIER_RULES = (
    TierRule(provider="openai", tier="batch", factor=_HALF, source="https://platform.openai.com/docs/guides/batch"),
    TierRule(
        provider="openai", tier="flex", factor=_HALF, source="https://platform.openai.com/docs/guides/flex-processing"
    ),
    TierRule(
        provider="azure",
        tier="batch",
        factor=_HALF,
        source="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch",
    ),
    TierRule(
        provider="anthropic",
        tier="batch",
        factor=_HALF,
        source="https://platform.claude.com/docs/en/about-claude/pricing#batch-processing",
    ),
    TierRule(  # bought in advance: what it costs stands in the user's contract
        provider="anthropic",
        tier="priority",
        factor=_SAME,
        source="https://platform.claude.com/docs/en/api/service-tiers",
    ),
    TierRule(
        provider="google", tier="batch", factor=_HALF, source="https://ai.google.dev/gemini-api/docs/optimization"
    ),
    TierRule(provider="google", tier="flex", factor=_HALF, source="https://ai.google.dev/gemini-api/docs/optimization"),
    TierRule(
        provider="aws",
        tier="batch",
        factor=_HALF,
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/capacity-limits-cost-optimization.html",
    ),
    TierRule(provider="mistral", tier="batch", factor=_HALF, source="https://docs.mistral.ai/capabilities/batch"),
    TierRule(provider="groq", tier="batch", factor=_HALF, source="https://console.groq.com/docs/batch"),
    TierRule(provider="groq", tier="flex", factor=_SAME, source="https://console.groq.com/docs/flex-processing"),
)
_FACTORS = {(rule.provider, rule.tier): rule.factor for rule in TIER_RULES}
_STANDARD = frozenset({"", "standard", "default", "auto", "on_demand", "on-demand", "none"})


def tier_name(tier: str | None) -> str | None:
    """Return *tier* in lower case; None for any of the names of the standard one."""
    name = (tier or "").strip().lower()
    return None if name in _STANDARD else name


def tier_factor(provider: str, tier: str) -> Fraction | None:
    """Return what *tier* multiplies token rates by at *provider*; None when it is not known."""
    return _FACTORS.get((provider, tier))
