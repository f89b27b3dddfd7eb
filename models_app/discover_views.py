"""The Discover page and a repository's own page. They work without script."""

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from mlxgui.pages import page
from mlxgui.runtime import memory_for_models
from models_app import choices, discovery, memory_plot
from models_app.card import render
from models_app.choices import Choice
from models_app.discovery import Answer
from models_app.hub import HubFailed
from models_app.hub_facts import HubModel
from models_app.models import Model
from models_app.recommendation import suggest
from models_app.underway import Offer, offer_of, offers, under_way

TEMPLATE = "models_app/discover.html"
ASKED, SHOWN = 100, 60
answer = sync_to_async(page)


@require_GET
async def discover(request: HttpRequest) -> HttpResponse:
    choice = Choice.of(request.GET)
    room = memory_for_models()
    context = {
        "choice": choice, "kinds": choices.KINDS, "sorts": choices.SORTS, "sizes": choices.SIZES,
        "quantizations": choices.QUANTIZATIONS, "room": room,
        **await _found(choice, room), **await under_way(few=True),
    }  # fmt: skip
    if not await Model.objects.exclude(source="starter").aexists():
        context["suggestion"] = suggest(room)
        context["suggested"] = await offer_of(suggest(room).repository)
    return await answer(request, TEMPLATE, context, partial="results")


async def _found(choice: Choice, room: int) -> dict[str, object]:
    """What is shown of the hub's answer; or why there is none."""
    try:
        if choice.kind == "embedding":
            found = await discovery.embeddings(
                choice.query, limit=ASKED, sort=choice.sort, author=choice.author
            )
        else:
            found = await discovery.search(choice.query, limit=ASKED, **choice.question())
    except HubFailed as failure:
        return {"failure": failure.message}
    fitting = choice.select(found.value, room)[:SHOWN]
    return {
        "found": await _with_offers(fitting, room),
        "looked_through": len(found.value),
        "age_minutes": int(found.age_seconds // 60),
        "warning": found.warning,
    }


async def _with_offers(models: list[HubModel], room: int) -> list[dict[str, object]]:
    states = await offers([model.repository for model in models])
    return [
        {"model": model, "offer": states[model.repository], "fits": model.memory_bytes <= room}
        for model in models
    ]


@require_GET
async def repository(request: HttpRequest, author: str, name: str) -> HttpResponse:
    named = f"{author}/{name}"
    offer = await offer_of(named)
    try:
        found = await discovery.look(named)
    except HubFailed as failure:
        context = {"repository": named, "failure": failure.message, "offer": offer}
        return await answer(request, "models_app/repository.html", context, status=failure.status)
    return await answer(request, "models_app/repository.html", await _about(found, offer))


async def _about(found: Answer[HubModel], offer: Offer) -> dict[str, object]:
    model = found.value
    room = memory_for_models()
    try:
        text = await discovery.card(model)
    except HubFailed:
        text = ""
    return {
        "repository": model.repository,
        "model": model,
        "offer": offer,
        "room": room,
        "age_minutes": int(found.age_seconds // 60),
        "warning": found.warning,
        "fits": model.memory_bytes <= room,
        "plot": memory_plot.plot(model, room),
        "card": render(text),
        "alternatives": await _with_offers((await discovery.alternatives(model))[:8], room),
        **await under_way(few=True),
    }


@require_GET
async def state(request: HttpRequest, author: str, name: str) -> HttpResponse:
    """The Install button, or what has become of it."""
    context = {"offer": await offer_of(f"{author}/{name}")}
    return await answer(request, "models_app/_install.html", context)
