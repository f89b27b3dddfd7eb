"""/v1/embeddings: texts or tokens in, vectors of unit length out.

Source: OpenAI's API reference (embeddings). `truncate` and `priority` are extensions.
"""

import base64
import struct
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.tasks import Embedded, EmbedRequest
from mlxgui.engine.types import Event
from mlxgui.wire import fields
from mlxgui.wire.tasks import Answer, ParsedTask, usage_of

MAX_INPUTS = 2048

kinds = ("embedding",)


class EmbeddingsBody(Struct, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    truncate: bool | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    user: str | None = None


class Vector(Struct):
    object: str
    index: int
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""


class Usage(Struct):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct):
    object: str
    data: list[Vector]
    model: str
    usage: Usage


given = EmbeddingsBody
_decoder = msgspec.json.Decoder(EmbeddingsBody)
_known = fields.struct_fields(EmbeddingsBody)


def parse(body: bytes) -> ParsedTask:
    asked = fields.decode(_decoder, body)
    request = EmbedRequest(
        inputs=inputs_of(asked.input),
        dimensions=asked.dimensions or 0,
        truncate=bool(asked.truncate),
        priority=asked.priority or 0,
    )
    return ParsedTask(
        model=asked.model,
        request=request,
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=asked.encoding_format or "float",
    )


def inputs_of(given: str | list[Any]) -> list[str | list[int]]:
    """Each text, or each text as token ids. Raises BadRequest for what is empty or mixed."""
    inputs: list[Any] = [given] if isinstance(given, str) else given
    if inputs and all(isinstance(one, int) for one in inputs):
        inputs = [inputs]
    if not inputs:
        raise BadRequest("input is empty: send a text, or a list of texts.", param="input")
    if len(inputs) > MAX_INPUTS:
        raise BadRequest(f"input may have {MAX_INPUTS} texts at most.", param="input")
    for index, one in enumerate(inputs):
        name = f"input[{index}]" if isinstance(given, list) else "input"
        if isinstance(one, int):
            raise BadRequest("input is either texts or token ids, not both.", param=name)
        if not one or (isinstance(one, str) and not one.strip()):
            raise BadRequest(f"{name} is empty.", param=name)
    return inputs


def complete(parsed: ParsedTask, events: list[Event]) -> Answer:
    found = sorted((e for e in events if isinstance(e, Embedded)), key=lambda event: event.index)
    write = _base64 if parsed.options == "base64" else _floats
    usage = usage_of(events)
    document = Embeddings(
        object="list",
        data=[Vector("embedding", one.index, write(one.vector)) for one in found],
        model=parsed.model,
        usage=Usage(usage.prompt_tokens, usage.prompt_tokens),
    )
    return Answer(msgspec.json.encode(document))


def _base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()


def _floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))
