"""MLX-GUI's POST /v1/models/{name}/generate. Source: its API document, with ranges and defaults."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import NotEnoughMemory
from mlxgui.engine.types import GenerationRequest, Sampling
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, fields, openai_text_answer, studio
from mlxgui.wire.openai_body import Count, Positive, Share
from mlxgui.wire.reply import Reply

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "x-request-id"
defaults: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8192}
MOST_TOKENS = 16384


class Body(Struct, kw_only=True):
    prompt: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Share | None = None
    top_k: Count | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    repetition_context_size: Positive | None = None
    seed: int | None = None


_decoder = msgspec.json.Decoder(Body)
_known = fields.struct_fields(Body)


def parse(body: bytes) -> Parsed:
    """The model's name is in the address: the view puts it in."""
    given = fields.decode(_decoder, body)
    penalty = 1.0 if given.repetition_penalty == 0 else given.repetition_penalty
    sampling = fields.chosen(
        temperature=given.temperature,
        top_p=given.top_p,
        top_k=given.top_k,
        repetition_penalty=penalty,
        repetition_context_tokens=given.repetition_context_size,
        seed=given.seed,
    )
    request = GenerationRequest(
        prompt=given.prompt, sampling=Sampling(**sampling), max_tokens=given.max_tokens or 0
    )
    return Parsed(
        model="",
        request=request,
        given=frozenset(sampling) | ({"max_tokens"} if given.max_tokens else set()),
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
    )


def complete(parsed: Parsed, reply: Reply) -> bytes:
    usage, timing = reply.usage, reply.timing
    seconds = timing.prefill_seconds + timing.decode_seconds
    return msgspec.json.encode(
        {
            "model": parsed.model,
            "prompt": parsed.request.prompt,
            "text": reply.choice(0).text,
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
            },
            "timing": {
                "generation_time_seconds": round(seconds, 4),
                "tokens_per_second": round(timing.tokens_per_second(usage.completion_tokens), 2),
            },
        }
    )


encoder = openai_text_answer.encoder


def error(error: Exception) -> tuple[int, bytes]:
    """`{"detail"}`; too little memory is a 400 in its document."""
    status, body = studio.error(error)
    return (400 if isinstance(error, NotEnoughMemory) else status), body
