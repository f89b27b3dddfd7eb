"""How a request of a model that does not chat is answered: refused, streamed or whole."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.multipartparser import MultiPartParserError

from chat_app.answering import first_of
from chat_app.kinds import check_kind
from mlxgui.api import View, add_warnings, error_response, json_api, sse_response
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Event
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire.tasks import Form, ParsedTask, TaskDialect
from models_app.adapters import aspec_for
from models_app.usage import count_use

FORM_ROOM_BYTES = 1 << 20
"""What a form may have beside its files."""


class TooLarge(BadRequest):
    """The form is larger than this route takes."""

    code = "body_too_large"


def body_view(dialect: TaskDialect[bytes], **said: Any) -> View:
    """POST a JSON body of this dialect. `said` goes into the API's document."""

    async def view(request: HttpRequest) -> HttpResponseBase:
        return await answer(dialect, dialect.parse(request.body), request.path)

    told = operation("POST", body=dialect.given, refuses=MODEL, **said)
    return told(json_api("POST")(view))


def form_view(dialect: TaskDialect[Form], max_file_bytes: int, **said: Any) -> View:
    """POST a multipart form of this dialect, whose files together have so many bytes at most."""

    async def view(request: HttpRequest) -> HttpResponseBase:
        try:
            form = await form_of(request, max_file_bytes + FORM_ROOM_BYTES)
        except TooLarge as error:
            response = error_response(error)
            response.status_code = 413
            return response
        return await answer(dialect, dialect.parse(form), request.path)

    told = operation("POST", form=dialect.given, refuses=(413, *MODEL), **said)
    return told(json_api("POST")(view))


async def form_of(request: HttpRequest, most_bytes: int) -> Form:
    """Raises BadRequest for what is no form, TooLarge for what is none of a sensible size."""
    if request.content_type != "multipart/form-data":
        raise BadRequest("Send a multipart/form-data form, with the file as a part of it.")
    size = request.META.get("CONTENT_LENGTH") or "0"
    if size.isdecimal() and int(size) > most_bytes:
        raise TooLarge(f"A form may have {most_bytes >> 20} MB at most here.")
    # In a thread: parts are copied to disk, and read from there.
    return await sync_to_async(_form, thread_sensitive=False)(request)


def _form(request: HttpRequest) -> Form:
    try:
        fields, files = request.POST, request.FILES
    except RequestDataTooBig as error:
        raise TooLarge(f"The form's fields are too large: {error}") from error
    except (MultiPartParserError, SuspiciousOperation, UnicodeError) as error:
        raise BadRequest(f"The form cannot be read: {error}") from error
    form: Form = {name: list(fields.getlist(name)) for name in fields}
    for name in files:
        for file in files.getlist(name):
            form.setdefault(name, []).append(file.read())
    return form


async def answer(dialect: TaskDialect[Any], parsed: ParsedTask, route: str) -> HttpResponseBase:
    model, spec = await aspec_for(parsed.model)
    check_kind(model, dialect.kinds, route)
    events = get_runtime().pool.generate(spec, parsed.request)
    first, notes = await first_of(events)  # what can be refused is refused here, with a real status
    count_use(model.pk)
    warnings = [*parsed.warnings, *notes]
    if (stream := parsed.stream) is not None:
        return sse_response(first, events, stream.encoder, warnings, stream.content_type)
    found = dialect.complete(parsed, await _all(first, events))
    response = HttpResponse(found.body, content_type=found.content_type)
    return add_warnings(response, warnings)


async def _all(first: Event, rest: AsyncGenerator[Event]) -> list[Event]:
    async with contextlib.aclosing(rest):
        return [first, *[event async for event in rest]]
