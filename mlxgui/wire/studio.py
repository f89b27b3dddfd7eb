"""Silicon Studio's /api/engine/chat and /api/engine/predict.

Source: its documents (spec/engine-chat-api.txt, spec/engine-models-api.txt), with their ranges.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.types import (
    Alive,
    Done,
    Event,
    GenerationRequest,
    Message,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    Warned,
)
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, fields
from mlxgui.wire.errors import openai_error, status_and_type
from mlxgui.wire.openai_body import MAX_MESSAGES, Share
from mlxgui.wire.parts import PartIn, part_from_openai
from mlxgui.wire.reply import Reply
from mlxgui.wire.sse import data

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "x-request-id"
defaults: dict[str, Any] = {
    "temperature": 0.7,
    "max_tokens": 512,
    "top_p": 0.9,
    "repetition_penalty": 1.1,
}
PREDICTED_TOKENS = 50

Id = Annotated[str, Meta(min_length=1, max_length=1024)]
BEGIN_THINKING, END_THINKING = "<think>", "</think>"


class MessageIn(Struct):
    role: Literal["system", "user", "assistant"]
    content: str | list[PartIn]


class ChatBody(Struct, kw_only=True):
    model_id: Id
    messages: Annotated[list[MessageIn], Meta(min_length=1, max_length=MAX_MESSAGES)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=32768)] | None = None
    top_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=5)] | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None


class PredictBody(Struct, kw_only=True):
    model_id: Id
    prompt: str
    max_tokens: Annotated[int, Meta(ge=1, le=128)] | None = None


_chat = msgspec.json.Decoder(ChatBody)
_predict = msgspec.json.Decoder(PredictBody)
_known = fields.struct_fields(ChatBody)


def parse(body: bytes) -> Parsed:
    given = fields.decode(_chat, body)
    # Both 0 and 1 mean that repetition is not punished.
    penalty = 1.0 if given.repetition_penalty == 0 else given.repetition_penalty
    sampling = fields.chosen(
        temperature=given.temperature,
        top_p=given.top_p,
        repetition_penalty=penalty,
        seed=given.seed,
    )
    request = GenerationRequest(
        messages=[_message(one, f"messages[{i}].content") for i, one in enumerate(given.messages)],
        sampling=Sampling(**sampling),
        max_tokens=given.max_tokens or 0,
        drop_images=True,
    )
    return Parsed(
        model=given.model_id,
        request=request,
        stream=True,
        given=frozenset(sampling) | ({"max_tokens"} if given.max_tokens else set()),
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
    )


def parse_predict(body: bytes) -> Parsed:
    given = fields.decode(_predict, body)
    request = GenerationRequest(
        prompt=given.prompt,
        sampling=Sampling(temperature=0.0),
        max_tokens=given.max_tokens or PREDICTED_TOKENS,
    )
    chosen = frozenset({"max_tokens", "temperature", "top_p", "repetition_penalty"})
    return Parsed(model=given.model_id, request=request, given=chosen)


def _message(given: MessageIn, param: str) -> Message:
    if isinstance(given.content, str):
        return Message(given.role, given.content)
    parts = [part_from_openai(part, f"{param}[{i}]") for i, part in enumerate(given.content)]
    return Message(given.role, parts)


def piece(text: str, **more: Any) -> bytes:
    return data({"text": text, "done": False, **more})


END = data({"text": "", "done": True})


class StreamEncoder:
    """Its clients know one kind of text: thoughts come in it, between their usual marks."""

    def __init__(self) -> None:
        self._is_thinking = False

    def feed(self, event: Event) -> bytes:
        match event:
            case Text(text):
                return self._turn(False) + piece(text)
            case Thinking(text):
                return self._turn(True) + piece(text)
            case ToolCall(_, _, name, arguments):
                return self._turn(False) + piece(f"{name}{arguments}")
            case Warned(message):
                return piece("", warning=message)
            case Alive():
                return b": still working\n\n"
            case Done():
                return self._turn(False) + END
        return b""

    def fail(self, error: Exception) -> bytes:
        return data({"error": openai_error(error)["detail"], "done": True})

    def _turn(self, is_thinking: bool) -> bytes:
        if is_thinking == self._is_thinking:
            return b""
        self._is_thinking = is_thinking
        return piece(BEGIN_THINKING if is_thinking else END_THINKING)


def encoder(parsed: Parsed) -> StreamEncoder:
    return StreamEncoder()


def complete(parsed: Parsed, reply: Reply) -> bytes:
    return msgspec.json.encode({"text": reply.choice(0).text})


def error(error: Exception) -> tuple[int, bytes]:
    """`{"detail"}` alone, as its documents have it."""
    return status_and_type(error)[0], msgspec.json.encode({"detail": openai_error(error)["detail"]})
