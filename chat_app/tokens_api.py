"""Prompts that are only counted or cut into tokens; nothing is generated."""

from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

from chat_app import answers
from chat_app.answering import asked_of, dialect_view
from chat_app.kinds import TALKING, check_kind
from mlxgui.api import json_response
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import (
    Dialect,
    Parsed,
    anthropic,
    anthropic_answer,
    anthropic_body,
    openai_chat,
    tokens,
)
from models_app.adapters import aspec_for


async def tokens_of(dialect: Dialect, parsed: Parsed, route: str) -> list[int]:
    """The tokens of the prompt, as the model would read it. Raises EngineError."""
    return list((await _cut(dialect, parsed, route))["tokens"])


async def _cut(
    dialect: Dialect, parsed: Parsed, route: str, *, pieces: bool = False
) -> dict[str, Any]:
    """`tokens`, and the text of each as `pieces` where that is wanted."""
    _, spec, asked = await asked_of(dialect, parsed, route)
    request = msgspec.to_builtins(asked[0], builtin_types=(bytes,))
    found = await get_runtime().pool.call(spec, "tokenize", request=request, pieces=pieces)
    return dict(found)


async def _tokenize(request: HttpRequest) -> HttpResponse:
    parsed = tokens.parse(request.body)
    cut = await _cut(openai_chat, parsed, request.path, pieces=True)
    return json_response({"model": parsed.model, "count": len(cut["tokens"]), **cut})


async def _detokenize(request: HttpRequest) -> HttpResponse:
    given = tokens.parse_tokens(request.body)
    model, spec = await aspec_for(given.model)
    check_kind(model, TALKING, request.path)
    found = await get_runtime().pool.call(spec, "detokenize", tokens=given.tokens)
    return json_response({"model": given.model, "text": found["text"], "prompt": found["text"]})


tokenize = operation(
    summary="The tokens of a text or of a chat, with the text of each.",
    body=tokens.TokenizeBody,
    answer=answers.Tokens,
    refuses=MODEL,
)(dialect_view(openai_chat, _tokenize))
detokenize = operation(
    summary="The text of tokens.",
    body=tokens.DetokenizeBody,
    answer=answers.TokensText,
    refuses=MODEL,
)(dialect_view(openai_chat, _detokenize))


async def _count_messages(request: HttpRequest) -> HttpResponse:
    ids = await tokens_of(anthropic, anthropic.parse_count(request.body), request.path)
    return HttpResponse(anthropic_answer.count(len(ids)), content_type=anthropic.content_type)


count_messages = operation(
    summary="How many tokens a body of /v1/messages would be.",
    body=anthropic_body.CountBody,
    answer=answers.TokenCount,
    refuses=MODEL,
)(dialect_view(anthropic, _count_messages))
