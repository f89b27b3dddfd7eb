"""/v1/rerank: documents sorted by how well they answer a query.

Source: the rerank APIs of Cohere and Jina, which agree on this much; `instruction` as the mlx-vlm
server has it.
"""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.tasks import Ranked, RerankRequest
from mlxgui.engine.types import Event
from mlxgui.wire import fields
from mlxgui.wire.embeddings import Usage
from mlxgui.wire.tasks import Answer, ParsedTask, usage_of

MAX_DOCUMENTS = 1000

kinds = ("rerank",)


class RerankBody(Struct, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    query: str | dict[str, Any]
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    """Texts, or objects with a `text`."""
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    instruction: str | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    user: str | None = None


class RankedText(Struct):
    text: str


class RankedResult(Struct, omit_defaults=True):
    index: int
    relevance_score: float
    document: RankedText | None = None


class Units(Struct):
    search_units: int


class RankingMeta(Struct):
    billed_units: Units


class Ranking(Struct):
    id: str
    model: str
    results: list[RankedResult]
    usage: Usage
    meta: RankingMeta


given = RerankBody
_decoder = msgspec.json.Decoder(RerankBody)
_known = fields.struct_fields(RerankBody)


def parse(body: bytes) -> ParsedTask:
    asked = fields.decode(_decoder, body)
    documents = [_text(one, f"documents[{index}]") for index, one in enumerate(asked.documents)]
    request = RerankRequest(
        query=_text(asked.query, "query"),
        documents=documents,
        instruction=(asked.instruction or "").strip(),
        priority=asked.priority or 0,
    )
    return ParsedTask(
        model=asked.model,
        request=request,
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=asked,
    )


def _text(given: str | dict[str, Any], name: str) -> str:
    text = given if isinstance(given, str) else given.get("text")
    if not isinstance(given, str) and {"image", "image_url", "video", "video_url"} & set(given):
        raise Unsupported(f"{name} holds a picture; only texts can be ranked.", param=name)
    if not isinstance(text, str) or not text.strip():
        raise BadRequest(f"{name} has no text.", param=name)
    return text


def complete(parsed: ParsedTask, events: list[Event]) -> Answer:
    asked: RerankBody = parsed.options
    assert isinstance(parsed.request, RerankRequest)
    texts = parsed.request.documents
    ranked = [event for event in events if isinstance(event, Ranked)]
    best = sorted(ranked, key=lambda one: (-one.score, one.index))[: asked.top_n]
    results = [
        RankedResult(
            one.index, one.score, RankedText(texts[one.index]) if asked.return_documents else None
        )
        for one in best
    ]
    tokens = usage_of(events).prompt_tokens
    document = Ranking(
        id=f"rerank-{uuid.uuid4().hex}",
        model=parsed.model,
        results=results,
        usage=Usage(tokens, tokens),
        meta=RankingMeta(Units(1)),
    )
    return Answer(msgspec.json.encode(document))
