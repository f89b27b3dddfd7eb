"""Ollama's /api/chat."""

from typing import Any

import msgspec

from mlxgui.engine.types import GenerationRequest, Message, Part, TextPart, Tool, ToolCallRecord
from mlxgui.wire import JSON, LINES, Parsed, fields, ollama_answer
from mlxgui.wire.ollama_answer import LineEncoder, Piece, call_object
from mlxgui.wire.ollama_body import ChatBody, MessageIn
from mlxgui.wire.ollama_request import notes, parsed
from mlxgui.wire.parts import images_from_ollama
from mlxgui.wire.reply import Reply

content_type, stream_type = JSON, LINES
request_id_header = "x-request-id"
# Ollama's list of options; its num_predict of -1 is bounded as in the other dialects.
defaults: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "max_tokens": 8192}
error = ollama_answer.error

_decoder = msgspec.json.Decoder(ChatBody)
_known = fields.struct_fields(ChatBody)


def read(body: bytes) -> ChatBody:
    return fields.decode(_decoder, body)


def parse(body: bytes) -> Parsed:
    given = read(body)
    tools = [tool.function for tool in given.tools or []]
    request = GenerationRequest(
        messages=[_message(one, f"messages[{i}]") for i, one in enumerate(given.messages or [])],
        tools=[Tool(t.name, t.description or "", t.parameters or {}) for t in tools],
    )
    return parsed(given, request, notes(body, given, _known))


def _message(given: MessageIn, param: str) -> Message:
    text = given.content or ""
    content: str | list[Part] = text
    if given.images:
        content = [TextPart(text), *images_from_ollama(given.images, f"{param}.images")]
    return Message(
        role=given.role,
        content=content,
        name=given.tool_name or "",
        reasoning=given.thinking or "",
        tool_calls=[
            ToolCallRecord(
                call.id or f"call_{i}",
                call.function.name,
                msgspec.json.encode(call.function.arguments).decode(),
            )
            for i, call in enumerate(given.tool_calls or [])
        ],
        tool_call_id=given.tool_call_id or "",
    )


def shape(piece: Piece) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": piece.text}
    if piece.thinking:
        message["thinking"] = piece.thinking
    if piece.calls:
        message["tool_calls"] = [call_object(call) for call in piece.calls]
    return {"message": message}


def complete(parsed: Parsed, reply: Reply) -> bytes:
    return ollama_answer.complete(parsed, reply, shape)


def encoder(parsed: Parsed) -> LineEncoder:
    return LineEncoder(parsed, shape)
