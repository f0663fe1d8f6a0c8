"""The state of an index: what changes when a node is put into it, taken out of it, or gets another text."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore.simple_kvstore import SimpleKVStore

_Rows = tuple[Mapping[str, Any], ...]
_known: WeakKeyDictionary[KVDocumentStore, tuple[_Rows, str]] = WeakKeyDictionary()


def index_epoch(index: Any) -> str:
    """Return the state of *index*: how many nodes it has, the last of them, and what its documents hold.

    The contents count since an application may give its nodes ids of its own, and put a changed text under an old one.
    Of an index whose vector store keeps the nodes itself, nothing is known here.
    """
    struct = getattr(index, "index_struct", None)
    for name in ("nodes_dict", "nodes", "all_nodes", "table"):
        nodes = getattr(struct, name, None)
        if nodes:
            return f"{len(nodes)}:{next(reversed(nodes))}:{_contents(getattr(index, 'docstore', None))}"
    return ""


def _contents(docstore: Any) -> str:
    """Return the hash of a document store in memory; "" of one behind a network, which would be read as a whole.

    Its rows are replaced, never changed: while they are the same objects (which 100,000 of them show in a few
    milliseconds) nothing is hashed.
    """
    if not isinstance(docstore, KVDocumentStore) or not isinstance(docstore._kvstore, SimpleKVStore):  # noqa: SLF001
        return ""
    stored = docstore._kvstore.get_all(docstore._metadata_collection)  # noqa: SLF001  `document_hashes` loses equal ones
    rows: _Rows = tuple(stored.values())
    known = _known.get(docstore)
    if known is not None and known[0] == rows:
        return known[1]
    lines = sorted(f"{name}\0{row.get('doc_hash')}" for name, row in stored.items())
    digest = blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    _known[docstore] = (rows, digest)
    return digest
