"""The door for JSON: methods, exceptions → error bodies, one view for all completion dialects."""

import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, Literal

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from mlxgui.engine.errors import EngineError
from mlxgui.engine.types import Event
from mlxgui.wire import Dialect, Encoder
from mlxgui.wire.errors import openai_error, retry_after, status_and_type

log = logging.getLogger("mlxgui.api")

Shape = Literal["openai", "detail"]
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def json_response(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), status=status, content_type="application/json")


def error_response(error: Exception, shape: Shape = "openai") -> HttpResponse:
    """OpenAI's shape with `detail` beside it, or `{"detail"}` alone."""
    body = openai_error(error)
    if shape == "detail":
        body = {"detail": body["detail"]}
    response = json_response(body, status_and_type(error)[0])
    if (seconds := retry_after(error)) is not None:
        response["Retry-After"] = str(seconds)
    return response


def json_api(*methods: str, shape: Shape = "openai") -> Callable[[View], View]:
    """An async view that answers JSON: other methods get 405, an EngineError its status.

    Free of CSRF tokens, since programs call it; cross-site requests are refused by the guard.
    """

    def wrap(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        async def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in methods:
                text = f"{request.method} is not allowed here; use {' or '.join(methods)}."
                response = json_response({"detail": text, "error": {"message": text}}, 405)
                response["Allow"] = ", ".join(methods)
                return response
            try:
                return await view(request, *args, **kwargs)
            except EngineError as error:
                return error_response(error, shape)
            except Exception as error:
                log.exception("%s %s failed", request.method, request.path)
                return error_response(error, shape)

        return inner

    return wrap


def sse_response(
    first: Event, rest: AsyncGenerator[Event], encoder: Encoder, warnings: list[str]
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(
        _bytes(first, rest, encoder), content_type="text/event-stream; charset=utf-8"
    )
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
        text = "; ".join(warnings)
        response["Warnings"] = text.encode("ascii", "replace").decode()[:1000]
    return response


def dialect_error(dialect: Dialect, error: Exception) -> HttpResponse:
    status, body = dialect.error(error)
    response = HttpResponse(body, status=status, content_type=dialect.content_type)
    if (seconds := retry_after(error)) is not None:
        response["Retry-After"] = str(seconds)
    return response
