"""The prompt cache over HTTP: what it holds, empty it, read a prompt ahead of its use."""

from typing import Annotated, Any, TypedDict

import msgspec
from django.http import HttpRequest, HttpResponse
from msgspec import Meta, Struct

from mlxgui.api import json_api, json_response
from mlxgui.engine.types import GenerationRequest, Started
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import fields, openai_chat
from mlxgui.wire.openai_body import Body
from models_app.adapters import aspec_for


class Which(Struct):
    """An empty body means: all loaded models, memory only."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    disk: bool = False


class CacheStats(TypedDict):
    models: dict[str, dict[str, Any]]


class CacheReset(TypedDict):
    status: str
    models: dict[str, Any]


class CacheWarm(TypedDict):
    status: str
    model: str
    prompt_tokens: int
    x_cache: dict[str, Any] | None


_which = msgspec.json.Decoder(Which)


@operation(answer=CacheStats)
@json_api("GET")
async def stats(request: HttpRequest) -> HttpResponse:
    """For each loaded model what its cache holds and how often it helped."""
    return json_response({"models": await _of_each("stats", pick="prompt_cache")})


@operation(
    body=Which,
    is_body_optional=True,
    answer=CacheReset,
    refuses=(404,),
    summary="Forget prompts: of one model or of all.",
)
@json_api("POST")
async def reset(request: HttpRequest) -> HttpResponse:
    which = fields.decode(_which, request.body or b"{}")
    only = (await aspec_for(which.model))[1].name if which.model else None
    left = await _of_each("reset_cache", only=only, disk=which.disk)
    return json_response({"status": "reset", "models": left})


@operation(body=Body, answer=CacheWarm, refuses=MODEL)
@json_api("POST")
async def warm(request: HttpRequest) -> HttpResponse:
    """A chat body; its prompt is read and kept, nothing is answered."""
    parsed = openai_chat.parse(request.body)
    _, spec = await aspec_for(parsed.model, parsed.adapter, parsed.adapter_param)
    started = Started(0)
    async for event in get_runtime().pool.generate(spec, _one_token(parsed.request)):
        if isinstance(event, Started):
            started = event
    return json_response(
        {
            "status": "warm",
            "model": spec.name,
            "prompt_tokens": started.prompt_tokens,
            "x_cache": started.cache,
        }
    )


def _one_token(request: GenerationRequest) -> GenerationRequest:
    return msgspec.structs.replace(request, max_tokens=1, n=1, constraint=None, logprobs=-1)


async def _of_each(
    name: str, *, only: str | None = None, pick: str = "", **arguments: Any
) -> dict[str, Any]:
    pool = get_runtime().pool
    found: dict[str, Any] = {}
    for resident in pool.residents():
        keeps = resident.state == "ready" and resident.kind in ("text", "vision")
        if keeps and only in (None, resident.name):
            answer = await pool.ask(resident.key, name, **arguments)
            found[resident.name] = answer[pick] if pick else answer
    return found
