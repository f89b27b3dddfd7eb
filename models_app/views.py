"""The Library page. It works without script; with it, only what changed is swapped."""

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import aget_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from mlxgui.engine.errors import EngineError
from mlxgui.pages import page
from mlxgui.runtime import get_runtime, memory_for_models
from models_app.library import ahub_cache, ascan
from models_app.loading import begin_load
from models_app.models import Model
from models_app.recommendation import download_command, suggest
from models_app.states import Listed, digest, join
from models_app.underway import offer_of, under_way

TEMPLATE = "models_app/library.html"
answer = sync_to_async(page)  # sessions and messages are read while a template renders


@require_GET
async def library(request: HttpRequest) -> HttpResponse:
    models = await _listed()
    suggestion = suggest(memory_for_models())
    context = {
        **_live(models),
        **await under_way(),
        "suggestion": suggestion,
        "suggested": await offer_of(suggestion.repository),
        "command": download_command(suggestion, settings.HOME.models),
        "folder": settings.HOME.models,
        "cache": await ahub_cache(),
        "is_moving": any(one.state.is_moving for one in models),
        "has_real_model": any(one.model.can_chat and not one.model.is_starter for one in models),
    }
    return await answer(request, TEMPLATE, context)


@require_GET
async def live(request: HttpRequest) -> HttpResponse:
    """The list alone; nothing at all (204) while it is as the page last saw it."""
    if not request.headers.get("HX-Request"):
        return redirect("models:library")
    models = await _listed()
    if request.GET.get("seen") == digest(models):
        return HttpResponse(status=204)
    return await answer(request, f"{TEMPLATE}#models", _live(models))


@require_POST
async def load(request: HttpRequest, pk: int) -> HttpResponse:
    model = await aget_object_or_404(Model, pk=pk)
    try:
        await begin_load(get_runtime().pool, model.spec())
    except EngineError as error:
        await sync_to_async(messages.error)(request, error.message)
    return await _after(request)


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
    """The list as it is now to htmx, the whole page to a plain form."""
    if not request.headers.get("HX-Request"):
        return redirect("models:library")
    return await answer(request, f"{TEMPLATE}#models", _live(await _listed()))


async def _listed() -> list[Listed]:
    """Those that can be used come first."""
    rows = [model async for model in Model.objects.all()]
    rows.sort(key=lambda model: not model.is_ready)
    return join(rows, get_runtime().pool)


def _live(models: list[Listed]) -> dict[str, object]:
    room = memory_for_models()
    loaded = sum(one.state.memory_bytes for one in models)
    return {
        "models": models,
        "room_bytes": room,
        "loaded_bytes": loaded,
        "loaded_percent": min(100, round(100 * loaded / room)),
        "seen": digest(models),
    }
