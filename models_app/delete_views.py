"""Deleting a model: a page that says what goes, then the deed."""

from pathlib import Path

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import aget_object_or_404, redirect
from django.template.defaultfilters import filesizeformat
from django.views.decorators.http import require_http_methods

from mlxgui.engine.errors import EngineError
from mlxgui.pages import page
from mlxgui.runtime import get_runtime
from models_app import removal
from models_app.models import Model
from models_app.removal import Removed
from models_app.states import listed

answer = sync_to_async(page)


@require_http_methods(["GET", "POST"])
async def delete(request: HttpRequest, pk: int) -> HttpResponse:
    model = await aget_object_or_404(Model, pk=pk)
    if request.method == "POST":
        return await _delete(request, model)
    context = {
        "model": model,
        "is_loaded": listed(model, get_runtime().pool).state.is_loaded,
        **await sync_to_async(about)(model),
    }
    return await answer(request, "models_app/delete.html", context)


def about(model: Model) -> dict[str, object]:
    reason = ""
    try:
        removal.check_may_go(model)
    except EngineError as refusal:
        reason = refusal.message
    folder = Path(model.path)
    if model.source == "hub_cache":
        folder = folder.parent.parent
    size = removal.size_of(folder) if folder.is_dir() and not folder.is_symlink() else 0
    return {"reason": reason, "own_files": removal.owns_files(model), "size": size}


async def _delete(request: HttpRequest, model: Model) -> HttpResponse:
    files, outside = "keep" not in request.POST, "outside" in request.POST
    try:
        await sync_to_async(removal.check_may_go)(model)
        await get_runtime().pool.unload(model.key)
        done = await sync_to_async(removal.remove)(model, files=files, outside=outside)
    except EngineError as refusal:
        await sync_to_async(messages.error)(request, refusal.message)
    else:
        await sync_to_async(messages.success)(request, words(model, done))
    return redirect("models:library")


def words(model: Model, done: Removed) -> str:
    if not done.files:
        return f"{model.name} left the library. Its files are where they were."
    return f"{model.name} was deleted. {filesizeformat(done.freed_bytes)} came back."
