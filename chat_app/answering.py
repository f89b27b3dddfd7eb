"""How a completion request is answered, in whatever dialect it came: refused, streamed or whole."""

import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from chat_app.drafts import with_draft
from chat_app.kinds import TALKING, check_kind
from chat_app.side_by_side import side_by_side
from mlxgui.api import (
    View,
    add_unknown,
    add_warnings,
    check_door,
    dialect_error,
    sse_response,
)
from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.engine.media import refuse_unread
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Event, GenerationRequest, Warned
from mlxgui.openapi.errors import shape_written
from mlxgui.openapi.operations import mark
from mlxgui.runtime import get_runtime
from mlxgui.system.fetch import fetch_images
from mlxgui.wire import Dialect, Parsed
from mlxgui.wire.defaults import filled
from mlxgui.wire.reply import Reply
from models_app.adapters import aspec_for
from models_app.models import Model
from models_app.usage import count_use

log = logging.getLogger("mlxgui.api")


def completion_view(dialect: Dialect) -> View:
    """POST a body of this dialect; a stream or one document comes back."""

    async def view(request: HttpRequest) -> HttpResponseBase:
        return await answer(dialect, dialect.parse(request.body), request.path)

    return dialect_view(dialect, view)


def dialect_view(dialect: Dialect, view: View, *methods: str) -> View:
    """The view behind one door: other methods are a 405, and every error has the dialect's shape.
    Each answer carries an id of its own, as the dialect's clients expect it."""
    allowed = methods or ("POST",)

    @csrf_exempt
    async def inner(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        response = await guarded(request, *args, **kwargs)
        response[dialect.request_id_header] = f"req_{uuid.uuid4().hex}"
        return response

    async def guarded(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        try:
            check_door(request, inner)
            return add_unknown(await view(request, *args, **kwargs), request, inner)
        except EngineError as error:
            return dialect_error(dialect, error)
        except Exception as error:
            log.exception("%s failed", request.path)
            return dialect_error(dialect, error)

    shape = shape_written(dialect.error(BadRequest()))
    return mark(inner, methods=allowed, shape=shape, write_error=dialect.error)


async def answer(dialect: Dialect, parsed: Parsed, route: str) -> HttpResponseBase:
    events = await events_of(dialect, parsed, route)
    first, notes = await first_of(events)  # what can be refused is refused here, with a real status
    warnings = [*parsed.warnings, *notes]
    if parsed.stream:
        encoder = dialect.encoder(parsed)
        return sse_response(first, events, encoder, warnings, dialect.stream_type)
    body = dialect.complete(parsed, await reply_of(first, events))
    return add_warnings(HttpResponse(body, content_type=dialect.content_type), warnings)


async def events_of(dialect: Dialect, parsed: Parsed, route: str) -> AsyncGenerator[Event]:
    """The stream of what was asked. Raises EngineError."""
    model, spec, asked = await asked_of(dialect, parsed, route)
    count_use(model.pk)
    pool = get_runtime().pool
    return side_by_side([pool.generate(spec, one) for one in asked], parsed.request.n)


async def asked_of(
    dialect: Dialect, parsed: Parsed, route: str
) -> tuple[Model, ModelSpec, list[GenerationRequest]]:
    """Its model, and its requests with the defaults that hold for them. Raises EngineError."""
    model, spec = await aspec_for(parsed.model, parsed.adapter, parsed.adapter_param)
    check_kind(model, TALKING, route)
    layers = (model.sampling_defaults, dialect.defaults)
    asked = [filled(one, parsed.given, *layers) for one in (parsed.request, *parsed.others)]
    asked = await with_draft(asked, parsed.draft, spec)
    for one in asked:
        refuse_unread(one, spec.kind)
    if spec.kind != "text":
        asked = [await fetch_images(one) for one in asked]
    return model, spec, asked


async def first_of(events: AsyncIterator[Event]) -> tuple[Event, list[str]]:
    """The first event but for warnings, and those: they go into a header, which comes before."""
    notes: list[str] = []
    while isinstance(event := await anext(events), Warned):
        notes.append(event.message)
    return event, notes


async def reply_of(first: Event, events: AsyncGenerator[Event]) -> Reply:
    reply = Reply()
    async with contextlib.aclosing(events):
        reply.add(first)
        async for event in events:
            reply.add(event)
    return reply
