"""Every completion endpoint: one view for all dialects."""

import contextlib
import logging
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from mlxgui.api import View, add_warnings, dialect_error, sse_response
from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.engine.types import Event, Warned
from mlxgui.runtime import get_runtime
from mlxgui.wire import Dialect, openai_chat
from mlxgui.wire.defaults import filled
from mlxgui.wire.reply import Reply
from models_app.adapters import aspec_for
from models_app.usage import count_use

log = logging.getLogger("mlxgui.api")


def completion_view(dialect: Dialect) -> View:
    """POST a body of this dialect; a stream or one document comes back."""

    @csrf_exempt
    async def view(request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST":
            response = dialect_error(dialect, BadRequest(f"Use POST, not {request.method}."))
            response.status_code, response["Allow"] = 405, "POST"
            return response
        try:
            return await answer(dialect, request.body)
        except EngineError as error:
            return dialect_error(dialect, error)
        except Exception as error:
            log.exception("%s failed", request.path)
            return dialect_error(dialect, error)

    return view


async def answer(dialect: Dialect, body: bytes) -> HttpResponseBase:
    parsed = dialect.parse(body)
    model, spec = await aspec_for(parsed.model, parsed.adapter)
    request = filled(parsed.request, parsed.given, model.sampling_defaults, dialect.defaults)
    events = get_runtime().pool.generate(spec, request)
    first, notes = await first_of(events)  # what can be refused is refused here, with a real status
    count_use(model.pk)
    warnings = [*parsed.warnings, *notes]
    if parsed.stream:
        return sse_response(first, events, dialect.encoder(parsed), warnings)
    reply = Reply()
    async with contextlib.aclosing(events):
        reply.add(first)
        async for event in events:
            reply.add(event)
    body = dialect.complete(parsed, reply)
    return add_warnings(HttpResponse(body, content_type=dialect.content_type), warnings)


async def first_of(events: AsyncIterator[Event]) -> tuple[Event, list[str]]:
    """The first event but for warnings, and those: they go into a header, which comes before."""
    notes: list[str] = []
    while isinstance(event := await anext(events), Warned):
        notes.append(event.message)
    return event, notes


chat_completions = completion_view(openai_chat)
