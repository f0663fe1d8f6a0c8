"""The tokenizer of an ONNX model: the one that lies with it, or BERT's uncased one over the word list that we ship."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tokenwise_core._optional import require
from tokenwise_core.embeddings.files import read_json


def tokenizer_in(folders: Iterable[Path]) -> Any:
    """Return the tokenizer that lies with the model, or BERT's uncased one."""
    tokenizers = require("tokenizers", extra="local")
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "vocab.txt").is_file():
            lowercase = read_json(folder / "tokenizer_config.json").get("do_lower_case", True)
            return _word_pieces(tokenizers, folder / "vocab.txt", lowercase=lowercase)
    with as_file(files("tokenwise_core") / "data" / "bert-base-uncased" / "vocab.txt") as vocabulary:
        return _word_pieces(tokenizers, vocabulary, lowercase=True)


def _word_pieces(tokenizers: Any, vocabulary: Path, *, lowercase: bool) -> Any:
    """Build BERT's tokenizer over a word list; accents are stripped where it lowercases, as BERT does."""
    return tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)
