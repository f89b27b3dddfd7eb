"""Ollama's /api/generate: a prompt inside the chat template, or raw, or around a gap."""

from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import GenerationRequest, Message, Part, TextPart
from mlxgui.wire import JSON, LINES, Parsed, fields, ollama_answer, ollama_chat
from mlxgui.wire.ollama_answer import LineEncoder, Piece
from mlxgui.wire.ollama_body import GenerateBody
from mlxgui.wire.ollama_request import notes, parsed
from mlxgui.wire.parts import images_from_ollama
from mlxgui.wire.reply import Reply

content_type, stream_type = JSON, LINES
request_id_header = "x-request-id"
defaults = ollama_chat.defaults
error = ollama_answer.error

_decoder = msgspec.json.Decoder(GenerateBody)
_known = fields.struct_fields(GenerateBody)


def read(body: bytes) -> GenerateBody:
    return fields.decode(_decoder, body)


def parse(body: bytes) -> Parsed:
    given = read(body)
    _refuse(given)
    warnings = notes(body, given, _known)
    if given.context:
        warnings.append("context: prompts are remembered by themselves")
    return parsed(given, _request(given), warnings)


def _request(given: GenerateBody) -> GenerationRequest:
    prompt = given.prompt or ""
    if given.raw or given.suffix:
        return GenerationRequest(prompt=prompt, suffix=given.suffix or "")
    content: str | list[Part] = prompt
    if given.images:
        content = [TextPart(prompt), *images_from_ollama(given.images, "images")]
    head = [Message("system", given.system)] if given.system else []
    return GenerationRequest(messages=[*head, Message("user", content)])


def _refuse(given: GenerateBody) -> None:
    """Known parameters that cannot be honoured: never silently ignored."""
    if given.template:
        raise Unsupported(
            "The model's own chat template is used; leave template out, or send raw: true.",
            param="template",
        )
    if given.images and (given.raw or given.suffix):
        raise BadRequest("Images need the chat template; leave raw and suffix out.", param="images")
    for name in ("width", "height", "steps"):
        if getattr(given, name):
            raise Unsupported("Pictures are made at /v1/images/generations.", param=name)


def shape(piece: Piece) -> dict[str, Any]:
    found: dict[str, Any] = {"response": piece.text}
    return {**found, "thinking": piece.thinking} if piece.thinking else found


def complete(parsed: Parsed, reply: Reply) -> bytes:
    return ollama_answer.complete(parsed, reply, shape)


def encoder(parsed: Parsed) -> LineEncoder:
    return LineEncoder(parsed, shape)
