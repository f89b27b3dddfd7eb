"""The door for JSON: methods, exceptions → error bodies, one view for all completion dialects."""

import contextlib
import functools
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from mlxgui.engine.errors import EngineError
from mlxgui.engine.types import Event
from mlxgui.openapi.operations import Shape, mark, operations_of
from mlxgui.wire import EVENT_STREAM, Dialect, Encoder
from mlxgui.wire.errors import Refused, openai_error, retry_after, status_and_type
from mlxgui.wire.fields import struct_fields, unknown_fields
from mlxgui.wire.limits import check_type

log = logging.getLogger("mlxgui.api")
_UNPRINTABLE = re.compile(r"[^ -~]")
MOST_WARNINGS_CHARS = 1000
_known = functools.cache(struct_fields)

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def json_response(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), status=status, content_type="application/json")


def error_response(error: Exception, shape: Shape = "openai") -> HttpResponse:
    """OpenAI's shape with `detail` beside it, or `{"detail"}` alone."""
    body = openai_error(error)
    if shape == "detail":
        body = {"detail": body["detail"]}
    return with_headers(json_response(body, status_and_type(error)[0]), error)


def with_headers(response: HttpResponse, error: Exception) -> HttpResponse:
    """What an error says beside its body: when to try again, what is allowed instead."""
    if (seconds := retry_after(error)) is not None:
        response["Retry-After"] = str(seconds)
    if isinstance(error, Refused):
        for name, value in error.headers.items():
            response[name] = value
    return response


def check_door(request: HttpRequest, view: Callable[..., Any]) -> None:
    """Raises Refused for a method or a content type that `view` does not take."""
    methods: tuple[str, ...] = getattr(view, "methods", ())
    method = request.method or ""
    if method not in methods:
        text = f"{method} is not allowed here; use {' or '.join(methods)}."
        raise Refused(405, "method_not_allowed", text, Allow=", ".join(methods))
    said = operations_of(view).get(method)
    if said is not None and said.body is not None and said.form is None:
        check_type(request.headers.get("Content-Type", ""), request.body)


def json_api(*methods: str, shape: Shape = "openai") -> Callable[[View], View]:
    """An async view that answers JSON: other methods get 405, an EngineError its status.

    Free of CSRF tokens, since programs call it; cross-site requests are refused by the guard.
    """

    def wrap(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        async def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                check_door(request, inner)
                response = await view(request, *args, **kwargs)
                return add_unknown(response, request, inner)
            except EngineError as error:
                return error_response(error, shape)
            except Exception as error:
                log.exception("%s %s failed", request.method, request.path)
                return error_response(error, shape)

        return mark(inner, methods=methods, shape=shape)

    return wrap


def sse_response(
    first: Event,
    rest: AsyncGenerator[Event],
    encoder: Encoder,
    warnings: list[str],
    content_type: str = EVENT_STREAM,
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_bytes(first, rest, encoder), content_type=content_type)
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return add_warnings(response, warnings)


async def _bytes(
    first: Event, rest: AsyncGenerator[Event], encoder: Encoder
) -> AsyncIterator[bytes]:
    """The stream. When the client goes away Django closes this, and with it the request."""
    async with contextlib.aclosing(rest):
        yield encoder.feed(first)
        try:
            async for event in rest:
                if chunk := encoder.feed(event):
                    yield chunk
        except EngineError as error:
            yield encoder.fail(error)


def add_warnings[R: HttpResponseBase](response: R, warnings: list[str]) -> R:
    if warnings:
        # A name that a client made up may hold anything, also the end of a header's line.
        text = _UNPRINTABLE.sub("?", "; ".join(warnings))
        response["Warnings"] = text[:MOST_WARNINGS_CHARS]
    return response


def add_unknown[R: HttpResponseBase](
    response: R, request: HttpRequest, view: Callable[..., Any]
) -> R:
    """Lists fields of the body that `view` does not know, where it has not listed any itself."""
    said = operations_of(view).get(request.method or "")
    if said is None or said.form is not None or not _is_struct(said.body):
        return response
    told = response.headers.get("Warnings", "")
    if response.status_code >= 400 or not request.body or "unknown " in told:
        return response
    with contextlib.suppress(msgspec.DecodeError):
        unknown = unknown_fields(request.body, _known(said.body))
        found = [f"unknown parameter: {name}" for name in unknown]
        add_warnings(response, [*([told] if told else []), *found])
    return response


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def dialect_error(dialect: Dialect, error: Exception) -> HttpResponse:
    status, body = dialect.error(error)
    return with_headers(HttpResponse(body, status=status, content_type="application/json"), error)
