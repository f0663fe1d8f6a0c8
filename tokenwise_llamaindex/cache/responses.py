"""A query engine's response as JSON that a cache may keep, and back: text or object, with its source nodes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from typing import Any

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.schema import BaseNode, Document, ImageNode, IndexNode, Node, NodeWithScore, TextNode

from tokenwise_core.cache import Hit
from tokenwise_core.errors import BadInput
from tokenwise_llamaindex.cache.answers import Unreadable
from tokenwise_llamaindex.calls import pieces

FORMAT = 1
_NODES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (Document, ImageNode, IndexNode, Node, TextNode)
}


def response_payload(response: RESPONSE_TYPE, text: str) -> dict[str, Any] | None:
    """Return what is kept of a response that said *text*; None where that would not be the whole."""
    nodes = [_node_payload(found) for found in response.source_nodes]
    if None in nodes:
        return None
    known = {name: value for name, value in (response.metadata or {}).items() if _is_json(value)}
    return {"v": FORMAT, "kind": _kind(response), "text": text, "nodes": nodes, "metadata": known}


def response_from(
    hit: Hit, *, output_cls: type[BaseModel] | None, awaited: bool
) -> Response | StreamingResponse | AsyncStreamingResponse | PydanticResponse:
    """Return a hit as the response that the engine gave, marked as what it is; raise `Unreadable`."""
    payload = hit.answer.payload
    if payload.get("v") != FORMAT or not isinstance(payload.get("text"), str):
        raise Unreadable("another format")
    text: str = payload["text"]
    nodes = [_node(found) for found in payload.get("nodes", ())]
    metadata = {**payload.get("metadata", {}), "tokenwise": hit.metadata()}
    if payload.get("kind") == "object":
        if output_cls is None:
            raise Unreadable("an object of an unknown class")
        return PydanticResponse(output_cls.model_validate_json(text), source_nodes=nodes, metadata=metadata)
    if payload.get("kind") != "stream":
        return Response(text, source_nodes=nodes, metadata=metadata)
    if awaited:
        return AsyncStreamingResponse(_awaited(text), source_nodes=nodes, metadata=metadata)
    return StreamingResponse(_read(text), source_nodes=nodes, metadata=metadata)


def dictated(
    answer: object, *, output_cls: type[BaseModel] | None, streamed: bool
) -> tuple[Response | StreamingResponse | PydanticResponse, str]:
    """Return an answer that a person gives as the kind of response that an engine makes, and its text."""
    given = Response(answer) if isinstance(answer, str) else answer
    if not isinstance(given, Response) or not isinstance(given.response, str):
        raise BadInput(f"the answer is a {type(answer).__name__}: give a text, or a Response with one")
    text, nodes, metadata = given.response, given.source_nodes, given.metadata
    if not text.strip():
        raise BadInput("the answer is blank")
    if streamed:
        return StreamingResponse(_read(text), source_nodes=nodes, metadata=metadata), text
    if output_cls is None:
        return given, text
    try:
        made = output_cls.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(f"the engine answers with objects: the answer is no {output_cls.__name__} as JSON") from error
    return PydanticResponse(made, source_nodes=nodes, metadata=metadata), made.model_dump_json()


def _kind(response: RESPONSE_TYPE) -> str:
    if isinstance(response, PydanticResponse):
        return "object"
    return "text" if isinstance(response, Response) else "stream"


def documents_of(nodes: Iterable[NodeWithScore]) -> tuple[str, ...]:
    """Return the tags of the documents that nodes come from; a node without a document is one itself."""
    return tuple(dict.fromkeys(f"doc:{found.node.ref_doc_id or found.node.node_id}" for found in nodes))


def _node_payload(found: NodeWithScore) -> dict[str, Any] | None:
    kind = found.node.class_name()
    if kind not in _NODES or type(found.node) is not _NODES[kind]:
        return None  # a class of the application's own, of which this could lose something
    fields = json.loads(found.node.model_copy(update={"embedding": None}).model_dump_json(exclude_none=True))
    return {"kind": kind, "node": fields, "score": found.score}


def _node(fields: Any) -> NodeWithScore:
    kind = _NODES.get(fields.get("kind", "")) if isinstance(fields, Mapping) else None
    if kind is None:
        raise Unreadable("another node")
    return NodeWithScore(node=kind.from_dict(fields["node"]), score=fields.get("score"))


def _read(text: str) -> Generator[str, None, None]:
    yield from pieces(text)


async def _awaited(text: str) -> AsyncGenerator[str, None]:
    for piece in pieces(text):
        yield piece


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
