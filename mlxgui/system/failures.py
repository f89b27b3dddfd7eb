"""Answers when there is nothing to answer with: unknown addresses and faults of our own."""

import contextlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.urls import Resolver404, resolve

from mlxgui.system.paths import is_api
from mlxgui.wire.errors import Refused, openai_response


def refused_bytes(path: str, refused: Refused) -> tuple[int, bytes]:
    """Status and body, in the words of the dialect at this address.

    Elsewhere both documented shapes at once: `detail`, and OpenAI's `error` object.
    """
    write: Callable[[Exception], tuple[int, bytes]] = openai_response
    with contextlib.suppress(Resolver404):
        write = getattr(resolve(path).func, "write_error", write)
    return write(refused)


def json_failure(path: str, refused: Refused) -> HttpResponse:
    status, body = refused_bytes(path, refused)
    return HttpResponse(body, status=status, content_type="application/json")


def wants_page(request: HttpRequest) -> bool:
    return not is_api(request.path_info) or "text/html" in request.headers.get("Accept", "")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_page(request):
        return render(request, "404.html", status=404)
    message = f"There is nothing at {request.method} {request.path_info}."
    return json_failure(request.path_info, Refused(404, "not_found", message))


def server_error(request: HttpRequest) -> HttpResponse:
    if wants_page(request):
        # Without context processors: one of them may be what failed.
        return HttpResponse(get_template("500.html").render(), status=500)
    why = Refused(500, "internal_error", "Something went wrong. The log has the details.")
    return json_failure(request.path_info, why)
