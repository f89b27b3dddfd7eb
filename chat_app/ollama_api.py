"""Ollama's routes that run a model: /api/chat, /api/generate, /api/embed, /api/embeddings."""

import contextlib
import struct
import time
from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from msgspec import Meta, Struct

from chat_app import ollama_answers
from chat_app.answering import answer, dialect_view
from chat_app.kinds import TALKING, check_kind
from mlxgui.api import json_response
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.tasks import Embedded, EmbedRequest
from mlxgui.engine.types import Done
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import LINES, Parsed, fields, ollama_chat, ollama_generate
from mlxgui.wire.ollama_answer import Piece, body_of
from mlxgui.wire.ollama_body import ChatBody, GenerateBody, Name, Options
from mlxgui.wire.ollama_request import About, plain_name
from models_app.adapters import aspec_for
from models_app.usage import count_use

EMBEDDING = ("embedding",)
MOST_INPUTS = 2048


async def _chat(request: HttpRequest) -> HttpResponseBase:
    given = ollama_chat.read(request.body)
    if not given.messages:
        return await _only_loaded(given, ollama_chat, request.path)
    return await answer(ollama_chat, ollama_chat.parse(request.body), request.path)


async def _generate(request: HttpRequest) -> HttpResponseBase:
    given = ollama_generate.read(request.body)
    if not (given.prompt or given.images or given.suffix):
        return await _only_loaded(given, ollama_generate, request.path)
    return await answer(ollama_generate, ollama_generate.parse(request.body), request.path)


async def _only_loaded(given: ChatBody | GenerateBody, dialect: Any, route: str) -> HttpResponse:
    """Nothing was asked: the model is loaded, or unloaded where it is to be kept for no time."""
    name, seconds = plain_name(given.model), fields.seconds_of(given.keep_alive)
    model, spec = await aspec_for(name)
    check_kind(model, (*TALKING, *EMBEDDING), route)
    pool = get_runtime().pool
    if seconds == 0:
        await pool.unload(spec.key)
    else:
        await pool.load(spec)
        if seconds is not None:
            pool.keep(spec, seconds)
    parsed = Parsed(model=name, request=dialect.parse(b'{"model":"-"}').request, options=About())
    reason = {"done_reason": "unload" if seconds == 0 else "load"}
    body = msgspec.json.encode({**body_of(parsed, dialect.shape, Piece(), True), **reason})
    if given.stream is not False:
        return HttpResponse(body + b"\n", content_type=LINES)
    return HttpResponse(body, content_type=dialect.content_type)


# -- vectors --------------------------------------------------------------------------------------


class EmbedBody(Struct, kw_only=True):
    model: Name
    input: str | Annotated[list[str], Meta(max_length=MOST_INPUTS)] = ""
    truncate: bool | None = True
    dimensions: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    keep_alive: float | str | None = None
    options: Options | None = None


class EmbeddingsBody(Struct, kw_only=True):
    """The older route: one text, one vector."""

    model: Name
    prompt: str = ""
    keep_alive: float | str | None = None
    options: Options | None = None


_embed_body = msgspec.json.Decoder(EmbedBody)
_embeddings_body = msgspec.json.Decoder(EmbeddingsBody)


async def _embed(request: HttpRequest) -> HttpResponse:
    began = time.perf_counter_ns()
    given = fields.decode(_embed_body, request.body)
    texts = [given.input] if isinstance(given.input, str) else given.input
    asked = EmbedRequest(
        inputs=list(texts),
        dimensions=given.dimensions or 0,
        truncate=given.truncate is not False,
        keep_alive_seconds=fields.seconds_of(given.keep_alive),
    )
    vectors, done = await _vectors(given.model, asked, request.path)
    total = time.perf_counter_ns() - began
    work = int((done.timing.prefill_seconds + done.timing.decode_seconds) * 1e9)
    return json_response(
        {
            "model": plain_name(given.model),
            "embeddings": vectors,
            "total_duration": total,
            "load_duration": max(0, total - work),
            "prompt_eval_count": done.usage.prompt_tokens,
        }
    )


async def _embeddings(request: HttpRequest) -> HttpResponse:
    given = fields.decode(_embeddings_body, request.body)
    keep = fields.seconds_of(given.keep_alive)
    asked = EmbedRequest(inputs=[given.prompt], truncate=True, keep_alive_seconds=keep)
    vectors, _ = await _vectors(given.model, asked, request.path)
    return json_response({"embedding": vectors[0] if vectors else []})


async def _vectors(
    name: str, asked: EmbedRequest, route: str
) -> tuple[list[tuple[float, ...]], Done]:
    """A vector for each input. Without text the model is only loaded, as Ollama does it."""
    model, spec = await aspec_for(plain_name(name))
    check_kind(model, EMBEDDING, route)
    pool = get_runtime().pool
    if not any(asked.inputs):
        await pool.load(spec)
        return [], Done()
    if "" in asked.inputs:
        raise BadRequest("A text must not be empty.", param=f"input[{asked.inputs.index('')}]")
    count_use(model.pk)
    found: dict[int, tuple[float, ...]] = {}
    done = Done()
    async with contextlib.aclosing(pool.generate(spec, asked)) as events:
        async for event in events:
            match event:
                case Embedded(index, vector):
                    found[index] = struct.unpack(f"<{len(vector) // 4}f", vector)
                case Done():
                    done = event
    return [found[index] for index in sorted(found)], done


chat = operation(
    summary="Chat, a line at a time or whole, as Ollama's API has it.",
    body=ChatBody,
    answer=ollama_answers.Chat,
    media=(LINES,),
    refuses=MODEL,
)(dialect_view(ollama_chat, _chat))
generate = operation(
    summary="An answer to a prompt, a line at a time or whole, as Ollama's API has it.",
    body=GenerateBody,
    answer=ollama_answers.Generated,
    media=(LINES,),
    refuses=MODEL,
)(dialect_view(ollama_generate, _generate))
embed = operation(
    summary="Vectors of texts, as Ollama's API has it.",
    body=EmbedBody,
    answer=ollama_answers.Vectors,
    refuses=MODEL,
)(dialect_view(ollama_chat, _embed))
embeddings = operation(
    summary="The vector of one text, as Ollama's older API has it.",
    body=EmbeddingsBody,
    answer=ollama_answers.Vector,
    refuses=MODEL,
)(dialect_view(ollama_chat, _embeddings))
