"""Answers when there is nothing to answer with: unknown addresses and faults of our own."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import get_template

from mlxgui.system.paths import is_api

KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}


def json_failure(status: int, code: str, message: str) -> JsonResponse:
    """Both documented shapes at once: `detail`, and OpenAI's `error` object."""
    kind = "server_error" if status >= 500 else KINDS.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JsonResponse({"detail": message, "error": error}, status=status)


def wants_page(request: HttpRequest) -> bool:
    return not is_api(request.path_info) or "text/html" in request.headers.get("Accept", "")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_page(request):
        return render(request, "404.html", status=404)
    message = f"There is nothing at {request.method} {request.path_info}."
    return json_failure(404, "not_found", message)


def server_error(request: HttpRequest) -> HttpResponse:
    if wants_page(request):
        # Without context processors: one of them may be what failed.
        return HttpResponse(get_template("500.html").render(), status=500)
    return json_failure(500, "internal_error", "Something went wrong. The log has the details.")
