"""Images, sound and files in a prompt, in tokens, from their sizes where these are known."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tokenwise_core.messages import Media
from tokenwise_core.tokens.models import Family

UNKNOWN_IMAGE = 1_000
"""An image of unknown size: about what a photo of a megapixel costs with most providers."""
BYTES_PER_TOKEN = 4


def media_tokens(media: Iterable[Media], family: Family) -> int:
    """Return about how many tokens *media* cost; zero for what can't be told (it is in reported usage)."""
    return sum(_tokens(item, family) for item in media)


def _tokens(item: Media, family: Family) -> int:
    if item.kind == "image":
        return image_tokens(item, family)
    return 0 if item.size_bytes is None else math.ceil(item.size_bytes / BYTES_PER_TOKEN)


def image_tokens(image: Media, family: Family) -> int:
    """Return the tokens of an image by its provider's published formula."""
    if family.image == "tiles":
        return _tiles(image, base=85, tile=170)
    if family.image == "dear tiles":
        return _tiles(image, base=2833, tile=5667)
    if image.width is None or image.height is None:
        return UNKNOWN_IMAGE
    if family.image == "patches":
        return _patches(image.width, image.height)
    if family.image == "anthropic":
        return _anthropic(image.width, image.height)
    if family.image == "gemini":
        return _gemini(image.width, image.height)
    return UNKNOWN_IMAGE


def _tiles(image: Media, *, base: int, tile: int) -> int:
    """OpenAI's vision guide: fit in 2048², shortest side to 768, then 512-pixel tiles; `low` costs the base."""
    if image.detail == "low":
        return base
    if image.width is None or image.height is None:
        return UNKNOWN_IMAGE
    width, height = _fit(image.width, image.height, longest=2048)
    shrink = min(1.0, 768 / min(width, height))
    return base + tile * math.ceil(width * shrink / 512) * math.ceil(height * shrink / 512)


def _patches(width: int, height: int, *, most: int = 1536) -> int:
    """OpenAI's vision guide, gpt-4.1-mini and newer: 32-pixel patches, shrunk to at most *most*."""
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches <= most:
        return patches
    shrink = math.sqrt(most * 32 * 32 / (width * height))
    across, down = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    return min(most, math.ceil(width * shrink / 32) * math.ceil(height * shrink / 32))


def _anthropic(width: int, height: int) -> int:
    """Anthropic's vision guide: width · height / 750 after fitting in 1568 pixels."""
    width, height = _fit(width, height, longest=1568)
    return min(1_600, math.ceil(width * height / 750))


def _gemini(width: int, height: int) -> int:
    """Google's token guide: 258 for an image up to 384 pixels, else 258 a tile of 768."""
    if width <= 384 and height <= 384:
        return 258
    return 258 * math.ceil(width / 768) * math.ceil(height / 768)


def _fit(width: int, height: int, *, longest: int) -> tuple[int, int]:
    shrink = min(1.0, longest / max(width, height, 1))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
