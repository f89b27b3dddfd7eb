"""A model's settings page: how it answers, how it is loaded, its profiles. Plain forms."""

from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from mlxgui.engine.errors import LoadFailed
from mlxgui.pages import page
from mlxgui.runtime import get_runtime
from models_app.forms import BUILT_IN, ProfileForm, talks
from models_app.library import scan
from models_app.loading import begin_load
from models_app.models import Model, Profile
from models_app.settings_form import SettingsForm, adapter_choices
from models_app.states import listed

answer = sync_to_async(page)


@require_http_methods(["GET", "POST"])
async def settings(request: HttpRequest, uuid: UUID) -> HttpResponse:
    model = await aget_object_or_404(Model, uuid=uuid)
    form = await sync_to_async(settings_form)(request, model)
    posted = request.method == "POST"
    if posted and await sync_to_async(is_saved)(request, form):
        renewed(model)
        return redirect("models:settings", uuid)
    context = {
        "model": model,
        "form": form,
        "talks": talks(model),
        "state": listed(model, get_runtime().pool).state,
        "needs_reload": renewed(model),
        "profiles": [profile async for profile in model.profiles.all()],
    }
    status = 400 if posted else 200
    return await answer(request, "models_app/settings.html", context, status=status)


def settings_form(request: HttpRequest, model: Model) -> SettingsForm:
    is_admin = request.user.is_authenticated and bool(request.user.is_staff)
    given = request.POST if request.method == "POST" else None
    return SettingsForm(given, model=model, is_admin=is_admin)


def is_saved(request: HttpRequest, form: SettingsForm) -> bool:
    if not form.is_valid():
        return False
    changed = form.save()
    if "trust_remote_code" in changed:
        scan()  # what its folder may hold has changed
        form.model.refresh_from_db()
    messages.success(request, "Saved." if changed else "Nothing was changed.")
    return True


def renewed(model: Model) -> bool:
    """Let a loaded model follow what holds at once. True: the rest waits for a reload."""
    try:
        spec = model.spec()
    except LoadFailed:
        return False
    pool = get_runtime().pool
    other_adapter = any(r.name == spec.name and r.key != spec.key for r in pool.residents())
    return pool.renew(spec) or other_adapter


@require_POST
async def reload(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """End the worker and start one with the settings as they are now."""
    model = await aget_object_or_404(Model, uuid=uuid)
    pool = get_runtime().pool
    await pool.unload(model.name)
    try:
        await begin_load(pool, model.spec())
    except LoadFailed as error:
        await sync_to_async(messages.error)(request, error.message)
    return redirect("models:settings", uuid)


# -- profiles -------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest, uuid: UUID, pk: int | None = None) -> HttpResponse:
    """A new profile where `pk` is None."""
    model = get_object_or_404(Model, uuid=uuid)
    row = get_object_or_404(model.profiles, pk=pk) if pk else Profile(model=model)
    posted = request.method == "POST"
    form = ProfileForm(
        request.POST if posted else None, profile=row, adapters=adapter_choices(model)
    )
    form.layers = (
        ("the model's settings", model.defaults),
        ("the model's generation_config.json", model.generation),
        BUILT_IN,
    )
    if posted and form.is_valid():
        messages.success(request, f"Ask for it as {form.save()}.")
        return redirect("models:settings", uuid)
    context = {"model": model, "form": form, "profile": row}
    return page(request, "models_app/profile.html", context, status=400 if posted else 200)


@require_POST
def delete_profile(request: HttpRequest, uuid: UUID, pk: int) -> HttpResponse:
    row = get_object_or_404(Profile, pk=pk, model__uuid=uuid)
    row.delete()
    messages.success(request, f"The profile {row.name} was deleted.")
    return redirect("models:settings", uuid)
