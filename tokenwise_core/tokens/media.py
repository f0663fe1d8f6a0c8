"""Images, sound and files in a prompt, in tokens, from their sizes where these are known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tokenwise_core.messages import Media
from tokenwise_core.tokens.models import base_name

UNKNOWN_IMAGE = 1_000
"""An image of unknown size: about what a photo of a megapixel costs with most providers."""
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRule:
    """How a provider bills an image: by tiles of 512 pixels, patches of 32, area, or Google's tiles of 768."""

    kind: Literal["tiles", "patches", "area", "google", "unknown"] = "unknown"
    base: int = 85
    tile: int = 170
    factor: float = 1.0


# OpenAI's "Images and vision" guide, Anthropic's vision guide, Google's guide to tokens.
_RULES = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"^gpt-4o-mini", ImageRule(kind="tiles", base=2833, tile=5667)),
        (r"^(gpt-4\.1|gpt-5[\d.]*)-mini", ImageRule(kind="patches", factor=1.62)),
        (r"^(gpt-4\.1|gpt-5[\d.]*)-nano", ImageRule(kind="patches", factor=2.46)),
        (r"^o4-mini", ImageRule(kind="patches", factor=1.72)),
        (r"^o\d", ImageRule(kind="tiles", base=75, tile=150)),
        (r"^computer-use", ImageRule(kind="tiles", base=65, tile=129)),
        (r"^gpt-[5-9]", ImageRule(kind="tiles", base=70, tile=140)),
        (r"^(gpt-4|chatgpt-4o)", ImageRule(kind="tiles")),
        (r"claude", ImageRule(kind="area")),
        (r"gemini|gemma", ImageRule(kind="google")),
    )
)


@lru_cache(maxsize=1024)
def image_rule(model: str) -> ImageRule:
    """Return how images are billed for a model name."""
    name = base_name(model)
    return next((rule for pattern, rule in _RULES if pattern.search(name)), ImageRule())


def media_tokens(media: Iterable[Media], rule: ImageRule) -> int:
    """Return about how many tokens *media* cost; zero for what can't be told (it is in reported usage)."""
    return sum(_tokens(item, rule) for item in media)


def _tokens(item: Media, rule: ImageRule) -> int:
    if item.kind == "image":
        return image_tokens(item, rule)
    return 0 if item.size_bytes is None else math.ceil(item.size_bytes / BYTES_PER_TOKEN)


def image_tokens(image: Media, rule: ImageRule) -> int:
    """Return the tokens of an image by its provider's published formula."""
    if rule.kind == "tiles" and image.detail == "low":
        return rule.base
    width, height = image.width, image.height
    if rule.kind == "unknown" or not width or not height:
        return UNKNOWN_IMAGE
    if rule.kind == "tiles":
        return _tiles(width, height, rule)
    if rule.kind == "patches":
        return math.ceil(rule.factor * _patches(width, height))
    return _area(width, height) if rule.kind == "area" else _google(width, height)


def _tiles(width: int, height: int, rule: ImageRule) -> int:
    """Fit in 2048 pixels square, then the shorter side in 768, then count tiles of 512."""
    width, height = _fit(width, height, longest=2048)
    shrink = min(1.0, 768 / min(width, height))
    return rule.base + rule.tile * math.ceil(width * shrink / 512) * math.ceil(height * shrink / 512)


def _patches(width: int, height: int, *, most: int = 1536) -> int:
    """Cover with patches of 32 pixels; an image that needs more than *most* is shrunk to fit them."""
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches <= most:
        return patches
    shrink = math.sqrt(most * 32 * 32 / (width * height))
    across, down = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    return min(most, math.ceil(width * shrink / 32) * math.ceil(height * shrink / 32))


def _area(width: int, height: int) -> int:
    """A token for 750 pixels, after fitting in 1568 pixels square."""
    width, height = _fit(width, height, longest=1568)
    return min(1_600, math.ceil(width * height / 750))


def _google(width: int, height: int) -> int:
    """258 for an image of up to 384 pixels square, else 258 for each tile of 768."""
    if width <= 384 and height <= 384:
        return 258
    return 258 * math.ceil(width / 768) * math.ceil(height / 768)


def _fit(width: int, height: int, *, longest: int) -> tuple[int, int]:
    shrink = min(1.0, longest / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
