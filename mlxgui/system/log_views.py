"""One log on a page: filtered, followed, downloaded."""

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from mlxgui.pages import page
from mlxgui.system.log_files import LEVELS, LogFile, find, log_files, tail

TEMPLATE = "system/log.html"


@require_GET
def log(request: HttpRequest, name: str) -> HttpResponse:
    file = found_or_404(name)
    context = {
        **shown(request, file),
        "logs": log_files(settings.HOME.logs),
        "levels": LEVELS,
        "following": "follow" in request.GET,
    }
    return page(request, TEMPLATE, context)


@require_GET
def lines(request: HttpRequest, name: str) -> HttpResponse:
    """The lines alone; nothing at all (204) while they are as the page last saw them."""
    context = shown(request, found_or_404(name))
    if request.GET.get("seen") == context["tail"].mark:
        return HttpResponse(status=204)
    return page(request, f"{TEMPLATE}#lines", context)


def shown(request: HttpRequest, file: LogFile) -> dict[str, Any]:
    wanted, level = request.GET.get("q", "")[:200], request.GET.get("level", "")
    found = tail(file, wanted, level)
    return {"file": file, "tail": found, "q": wanted, "level": level}


@require_GET
def download(request: HttpRequest, name: str) -> HttpResponse:
    """Whole; our logs are bounded, so in one piece."""
    file = found_or_404(name)
    response = HttpResponse(file.path.read_bytes(), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, file.name)
    return response


def found_or_404(name: str) -> LogFile:
    file = find(settings.HOME.logs, name)
    if file is None:
        raise Http404
    return file
