"""Pages: a whole template, or only the partial that htmx asked for."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any] | None = None,
    *,
    partial: str = "",
    status: int = 200,
) -> HttpResponse:
    """Render `template`, or only its `partial` when htmx asks (history gets it whole)."""
    htmx = getattr(request, "htmx", None)
    if partial and htmx and not htmx.history_restore_request:
        template = f"{template}#{partial}"
    response = render(request, template, context, status=status)
    if partial:
        response["Vary"] = "HX-Request"
    return response


def common(request: HttpRequest) -> dict[str, Any]:
    """What every template may use."""
    return {"app_version": settings.VERSION}
