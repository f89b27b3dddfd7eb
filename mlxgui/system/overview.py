"""The System page: memory over time, models, queues, disk, logs; restart and shut down."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.csp import CSP, build_policy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from mlxgui.api import json_response
from mlxgui.pages import page
from mlxgui.runtime import get_runtime, memory_for_models, running_control, running_runtime
from mlxgui.system.lifecycle import CannotEnd
from mlxgui.system.loaded import loaded
from mlxgui.system.log_files import log_files
from mlxgui.system.models import Setting
from mlxgui.system.samples import history
from mlxgui.system.status import residents, running_since

TEMPLATE = "system/overview.html"
answer = sync_to_async(page)


@require_GET
async def overview(request: HttpRequest) -> HttpResponse:
    runtime = running_runtime()
    context = {
        **live_facts(),
        "part_names": list(history.names()),
        "rows": rows_over_time(),
        "logs": log_files(settings.HOME.logs),
        "home": settings.HOME.path,
        "started_at": runtime.started_at if runtime else None,
    }
    return await answer(request, TEMPLATE, context)


@require_GET
async def live(request: HttpRequest) -> HttpResponse:
    """What changes by the second, for a page that is looked at."""
    return await live_part(request)


async def live_part(request: HttpRequest) -> HttpResponse:
    if not request.headers.get("HX-Request"):
        return redirect("system-overview")
    return await answer(request, f"{TEMPLATE}#live", live_facts())


def live_facts() -> dict[str, Any]:
    latest = history.latest
    models = loaded(residents(), latest)
    waiting = [one for one in models if one.queue_position]
    return {
        "latest": latest,
        "models": models,
        "to_load": sorted(waiting, key=lambda one: one.queue_position),
        "planned_bytes": sum(one.planned_bytes for one in models),
        "room_bytes": memory_for_models(),
        "in_flight": sum(one.in_flight for one in models),
        "waiting": sum(one.waiting for one in models),
    }


def rows_over_time() -> list[tuple[datetime, list[int]]]:
    """The picture in words: a few times of the hour, and the bytes of each part then."""
    rows = []
    for sample in history.rows():
        sizes = {part.name: part.size_bytes for part in sample.parts}
        at = datetime.fromtimestamp(sample.at, UTC)
        rows.append((at, [sizes.get(name, 0) for name in history.names()]))
    return rows


@require_GET
async def samples(request: HttpRequest) -> HttpResponse:
    """Numbers for the picture; `after` leaves out what the page has already."""
    try:
        after = float(request.GET.get("after") or 0)
    except ValueError:
        after = 0.0
    return json_response(history.table(after))


@require_POST
async def unload(request: HttpRequest) -> HttpResponse:
    """One model by its key, or all of them."""
    pool = get_runtime().pool
    key = request.POST.get("key", "")
    for one in pool.residents():
        if key in (one.key, "*"):
            await pool.unload(one.key)
    return await live_part(request)


def new_origin(request: HttpRequest, port_now: int, port_next: int) -> str:
    """Where the server goes, by the name that the reader has for it, on another computer too.
    Empty where it stays."""
    if port_now == port_next:
        return ""
    host = urlsplit(f"//{request.get_host()}").hostname or "127.0.0.1"
    return f"{request.scheme}://{f'[{host}]' if ':' in host else host}:{port_next}"


def may_ask(response: HttpResponse, origin: str) -> HttpResponse:
    """The page may see whether the new address answers, which our policy otherwise forbids."""
    policy: dict[str, Any] = {**settings.SECURE_CSP, "connect-src": [CSP.SELF, origin]}
    response.headers[str(CSP.HEADER_ENFORCE)] = build_policy(policy)
    return response


@require_http_methods(["GET", "POST"])
async def ending(request: HttpRequest, verb: str) -> HttpResponse:
    """Restart or shut down: a page that asks first, then the deed."""
    started = running_since()
    context: dict[str, Any] = {"verb": verb, "started": started, **live_facts()}
    try:
        control = running_control()
        rows = await Setting.objects.aas_dict()
        if request.method == "GET":
            return await answer(request, "system/ending.html", context)
        if verb == "restart":
            next = control.restart(rows)
            context["origin"] = new_origin(request, control.address.port, next.port)
        else:
            control.shut_down()
    except CannotEnd as reason:
        await sync_to_async(messages.error)(request, str(reason))
        return redirect("system-overview")
    ended = await answer(request, "system/ended.html", context)
    return may_ask(ended, context["origin"]) if context.get("origin") else ended
