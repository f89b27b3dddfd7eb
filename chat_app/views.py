"""The chat page. A new chat has an address but no row until its first message."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from chat_app import replies
from chat_app.actions import act
from chat_app.forms import TitleForm
from chat_app.fragments import WINDOW, shown
from chat_app.listing import sidebar
from chat_app.models import Conversation
from chat_app.prompt import defaults
from chat_app.questions import example_questions
from chat_app.replies import Refused
from mlxgui.pages import page
from mlxgui.runtime import get_runtime
from models_app.models import Model
from models_app.states import Listed, join
from models_app.variants import Variant, avariants

STEP = 400
"""How many more messages one click brings back."""
PAGE = "chat_app/conversation.html"


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    newest = Conversation.objects.order_by("-updated_at").first()
    return redirect("chat:conversation", newest.pk) if newest else redirect("chat:new")


@require_GET
def new(request: HttpRequest) -> HttpResponse:
    """A fresh address. `?model=` and `?text=` are passed on to the page."""
    address = reverse("chat:conversation", args=[uuid4()])
    return redirect(f"{address}?{request.GET.urlencode()}" if request.GET else address)


@require_GET
def conversations(request: HttpRequest) -> HttpResponse:
    groups = sidebar(request.GET.get("q", ""))
    return render(request, f"{PAGE}#conversations", {"groups": groups})


async def conversation(request: HttpRequest, id: UUID) -> HttpResponse:
    """GET shows the chat. POST is the form without JavaScript: it waits for the whole reply."""
    if request.method == "POST":
        return await submit(request, id)
    pool = get_runtime().pool
    context = await sync_to_async(page_context)(request, id)
    models = join([model async for model in Model.objects.ready()], pool)
    names = await avariants([listed.model for listed in models])
    context |= choices(models, names, context["conversation"], request.GET.get("model", ""))
    return await sync_to_async(page)(request, PAGE, context)


async def submit(request: HttpRequest, id: UUID) -> HttpResponse:
    fields = {name: str(value) for name, value in request.POST.items()}
    address = reverse("chat:conversation", args=[id])
    try:
        reply = await act(id, fields)
    except Refused as refusal:
        query = urlencode({"refusal": str(refusal), "text": fields.get("text", "")[:4000]})
        return redirect(f"{address}?{query}")
    if reply:
        await reply.ended()
    return redirect(f"{address}#end")


@require_GET
def message(request: HttpRequest, id: UUID, pk: int) -> HttpResponse:
    """One message, or with `?edit=1` the form to write it anew."""
    found = get_object_or_404(Conversation, pk=id)
    entry = next((entry for entry in found.path() if entry.message.pk == pk), None)
    if entry is None:
        raise Http404
    item = shown(entry, editing=pk if "edit" in request.GET else 0)
    return render(request, "chat_app/_message.html#message", {"item": item, "conversation": found})


@require_POST
def rename(request: HttpRequest, id: UUID) -> HttpResponse:
    form = TitleForm(request.POST, instance=get_object_or_404(Conversation, pk=id))
    if form.is_valid():
        form.save()
    return redirect("chat:conversation", id)


@require_POST
def pin(request: HttpRequest, id: UUID) -> HttpResponse:
    found = get_object_or_404(Conversation, pk=id)
    found.pinned = not found.pinned
    found.save(update_fields=["pinned"])
    return redirect("chat:conversation", id)


@require_POST
async def delete(request: HttpRequest, id: UUID) -> HttpResponse:
    await replies.stop(id)
    await Conversation.objects.filter(pk=id).adelete()
    await replies.nudge(id)
    return redirect("chat:index")


# -- what the page shows --------------------------------------------------------------------------


def page_context(request: HttpRequest, id: UUID) -> dict[str, Any]:
    conversation = Conversation.objects.filter(pk=id).first() or Conversation(pk=id)
    path = conversation.path() if conversation.leaf_id else []
    count = _number(request, "show") or WINDOW
    window, editing = path[-count:], _number(request, "edit")
    return {
        "conversation": conversation,
        "items": [shown(entry, editing=editing) for entry in window],
        "earlier": len(path) - len(window),
        "show": count + STEP,
        "groups": sidebar(),
        "busy": replies.live(id) is not None,
        "refusal": request.GET.get("refusal", ""),
        "text": request.GET.get("text", ""),
        "questions": example_questions(),
    }


def _number(request: HttpRequest, name: str) -> int:
    """0 when it is missing or nonsense."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def choices(
    models: list[Listed],
    variants: dict[int, list[Variant]],
    conversation: Conversation,
    wanted: str,
) -> dict[str, Any]:
    """The models to choose from, and the one chosen: the chat's own, else one that is loaded."""
    able = [listed for listed in models if listed.model.can_chat]
    others = {listed.model.pk: variants[listed.model.pk] for listed in able}
    names = {listed.model.name: listed.model for listed in able}
    for listed in able:
        names |= {other.name: listed.model for other in others[listed.model.pk]}
    chosen = conversation.model_name or (wanted if wanted in names else "")
    if not chosen and able:
        chosen = min(able, key=_preference).model.name
    model = names.get(chosen)
    return {
        "models": [(listed, others[listed.model.pk]) for listed in able],
        "chosen": chosen,
        "model": model,
        "is_missing": chosen not in names,
        "default_temperature": defaults(model)["temperature"] if model else "",
    }


def _preference(listed: Listed) -> tuple[bool, bool, float, bool]:
    """Loaded ones first, then the last used; of those never used the starter, which is light."""
    model, state = listed.model, listed.state
    used = model.last_used_at.timestamp() if model.last_used_at else 0.0
    return state.status == "failed", not state.is_loaded, -used, not model.is_starter
