"""What a chain returns, as versioned JSON and back: texts, messages, documents, plain data, pydantic models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.utils import message_chunk_to_message
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from tokenwise_langchain.cache.messages import decode_message, encode_message, to_json
from tokenwise_langchain.cache.served import message_chunks, text_pieces

VERSION = 1
Classes = Mapping[str, type[BaseModel]]
"""The pydantic classes that may be built of stored data, by their names: no others ever are."""


NOTHING: Any = object()


class NotStorable(TypeError):
    """An output holds something that JSON, or the classes we were told, cannot bring back."""


def encode(output: Any, classes: Classes) -> Any:
    """Return *output* as JSON: data that is JSON as it is, anything else as `{"is": kind, …}`."""
    if output is None or isinstance(output, str | bool | int | float):
        return output
    if isinstance(output, AIMessage):
        message = message_chunk_to_message(output) if isinstance(output, AIMessageChunk) else output
        return {"is": "message", "fields": encode_message(message)}
    if isinstance(output, Document):
        return {
            "is": "document", "text": output.page_content, "metadata": encode(output.metadata, classes), "id": output.id
        }  # fmt: skip
    if isinstance(output, BaseModel) and classes.get(type(output).__name__) is type(output):
        return {"is": "model", "class": type(output).__name__, "fields": to_json(output)}
    if type(output) in (list, AddableDict, dict):
        return _encode_collection(output, classes)
    raise NotStorable(f"{type(output).__name__} cannot be stored")


def _encode_collection(output: Any, classes: Classes) -> Any:
    if isinstance(output, list):
        return [encode(item, classes) for item in output]
    if not all(isinstance(name, str) for name in output):
        raise NotStorable("a dict with names that are no texts cannot be stored")
    items = {name: encode(item, classes) for name, item in output.items()}
    return {"is": "dict", "items": items} if "is" in items else items


def decode(data: Any, classes: Classes, mark: Mapping[str, Any]) -> Any:
    """Build an output anew; messages in it carry the *mark* of the hit."""
    if isinstance(data, list):
        return [decode(item, classes, mark) for item in data]
    if not isinstance(data, Mapping):
        return data
    kind = data.get("is")
    if kind is None or kind == "dict":
        items = data if kind is None else data["items"]
        return {name: decode(item, classes, mark) for name, item in items.items()}
    if kind == "message":
        return decode_message(data["fields"], mark)
    if kind == "document":
        return Document(page_content=data["text"], metadata=decode(data["metadata"], classes, mark), id=data["id"])
    if kind == "model":
        return classes[data["class"]].model_validate(data["fields"])
    raise NotStorable(f"unknown kind {kind!r}")


def text_of(output: Any, encoded: Any) -> str:
    """Return what two answers are compared by."""
    if isinstance(output, str):
        return output
    if isinstance(output, AIMessage):
        return output.text
    said = (
        [value for value in output.values() if isinstance(value, str | AIMessage)] if isinstance(output, dict) else []
    )
    if len(said) == 1:  # the answer of a chain that returns its documents beside
        return text_of(said[0], None)
    return json.dumps(encoded, ensure_ascii=False, sort_keys=True)


def pieces_of(output: Any) -> Iterator[Any]:
    """Yield an output in pieces that add up to it, as the chain's own stream would."""
    if isinstance(output, str):
        yield from text_pieces(output)
    elif isinstance(output, AIMessage):
        yield from message_chunks(output)
    elif isinstance(output, dict) and output:
        for name, value in output.items():
            for piece in pieces_of(value) if isinstance(value, str | AIMessage) else (value,):
                yield AddableDict({name: piece})
    else:
        yield output


def put_together(pieces: Sequence[Any]) -> Any:
    """Return what the pieces of a stream make; NOTHING where that cannot be told for certain.

    Texts, chunks and parts of dicts add up; of plain dicts and objects, which parsers yield as they grow, the last is
    the whole. Lists may be either.
    """
    if len(pieces) < 2:
        return pieces[0] if pieces else NOTHING
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, AIMessageChunk) for piece in pieces):
        return pieces[0] + list(pieces[1:])
    if all(isinstance(piece, AddableDict) for piece in pieces):
        names = dict.fromkeys(name for piece in pieces for name in piece)
        parts = {name: put_together([piece[name] for piece in pieces if name in piece]) for name in names}
        return NOTHING if any(part is NOTHING for part in parts.values()) else parts
    grows = all(type(piece) in (dict, type(None)) for piece in pieces) or all(
        type(p) is type(pieces[-1]) for p in pieces
    )
    return pieces[-1] if grows and isinstance(pieces[-1], dict | BaseModel) else NOTHING


def documents_in(value: Any) -> Iterator[Document]:
    """Yield the documents in an input or output, at any depth."""
    if isinstance(value, Document):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from documents_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from documents_in(item)
