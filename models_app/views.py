"""The Library page. It works without script; with it, only what changed is swapped."""

from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import aget_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from mlxgui.engine.errors import EngineError
from mlxgui.engine.preview import Preview
from mlxgui.pages import page
from mlxgui.runtime import get_runtime, memory_for_models
from models_app import loading, memory_plan
from models_app.library import ahub_cache, ascan
from models_app.models import Model, ModelQuerySet
from models_app.recommendation import download_command, suggest
from models_app.shelf import Shelf, part
from models_app.states import digest, join, listed
from models_app.underway import offer_of, under_way

TEMPLATE = "models_app/library.html"
answer = sync_to_async(page)


@require_GET
async def library(request: HttpRequest) -> HttpResponse:
    live = await _live(Shelf.of(request.GET))
    if request.headers.get("HX-Request"):
        return await answer(request, TEMPLATE, live, partial="models")
    suggestion = suggest(memory_for_models())
    context = {
        **live,
        **await under_way(),
        "suggestion": suggestion,
        "suggested": await offer_of(suggestion.repository),
        "command": download_command(suggestion, settings.HOME.models),
        "folder": settings.HOME.models,
        "cache": await ahub_cache(),
        "is_moving": any(one.state.is_moving for one in live["models"]),
        "has_real_model": await _chat_models().exclude(source="starter").aexists(),
    }
    return await answer(request, TEMPLATE, context)


@require_GET
async def live(request: HttpRequest) -> HttpResponse:
    """The list alone; nothing at all (204) while it is as the page last saw it."""
    if not request.headers.get("HX-Request"):
        return redirect("models:library")
    context = await _live(Shelf.of(request.GET))
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return await answer(request, f"{TEMPLATE}#models", context)


@require_POST
async def load(request: HttpRequest, pk: int) -> HttpResponse:
    """At once where it simply fits; else the plan is shown first, and asked about."""
    model = await aget_object_or_404(Model, pk=pk)
    pool, confirmed = get_runtime().pool, "confirm" in request.POST
    try:
        spec = model.spec()
        preview = pool.preview(spec)
        if not (confirmed or loading.is_simple(preview) or listed(model, pool).state.is_loaded):
            return await _ask_first(request, model, preview)
        await loading.begin_load(pool, spec, force=confirmed)
    except EngineError as error:
        await sync_to_async(messages.error)(request, error.message)
    return await _after(request)


async def _ask_first(request: HttpRequest, model: Model, preview: Preview) -> HttpResponse:
    """In a dialog of the page where there is script, else on a page of its own."""
    if not request.headers.get("HX-Request"):
        return redirect("models:plan", model.pk)
    context = memory_plan.shown(model, preview)
    response = await answer(request, "models_app/_plan.html", context)
    response["HX-Retarget"], response["HX-Reswap"] = "#plan", "innerHTML"
    return response


@require_GET
async def plan(request: HttpRequest, pk: int) -> HttpResponse:
    """What loading the model would take, in parts."""
    model = await aget_object_or_404(Model, pk=pk)
    try:
        preview = get_runtime().pool.preview(model.spec())
    except EngineError as error:
        await sync_to_async(messages.error)(request, error.message)
        return redirect("models:library")
    return await answer(request, "models_app/plan.html", memory_plan.shown(model, preview))


@require_POST
async def unload(request: HttpRequest, pk: int) -> HttpResponse:
    model = await aget_object_or_404(Model, pk=pk)
    await get_runtime().pool.unload(model.key)
    return await _after(request)


@require_POST
async def rescan(request: HttpRequest) -> HttpResponse:
    await ascan()
    return await _after(request)


async def _after(request: HttpRequest) -> HttpResponse:
    """The list as it is now to htmx, filtered as its page is; the whole page to a plain form."""
    if not request.headers.get("HX-Request"):
        return redirect("models:library")
    query = urlsplit(request.headers.get("HX-Current-URL", "")).query
    return await answer(request, f"{TEMPLATE}#models", await _live(Shelf.of(QueryDict(query))))


def _chat_models() -> ModelQuerySet:
    return Model.objects.ready().filter(kind__in=("text", "vision", "fake"))


async def _live(shelf: Shelf) -> dict[str, Any]:
    pool, room = get_runtime().pool, memory_for_models()
    residents = pool.residents()
    context = await sync_to_async(part)(shelf, {one.path for one in residents})
    models = join(context.pop("rows"), pool)
    loaded = sum(one.memory_bytes for one in residents)
    return {
        **context,
        "models": models,
        "room_bytes": room,
        "loaded_bytes": loaded,
        "loaded_percent": min(100, round(100 * loaded / room)),
        "seen": digest(models, loaded, context["found"]),
    }
