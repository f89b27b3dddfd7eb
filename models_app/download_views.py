"""The list of downloads, and what a person wishes of them. Plain forms; htmx swaps what changed."""

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import aget_object_or_404, redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from mlxgui.engine.errors import BadRequest
from mlxgui.jobs import runner
from mlxgui.pages import page
from models_app.downloads import Download
from models_app.underway import offer_of, under_way

answer = sync_to_async(page)
LIST = "models_app/_downloads.html"


@require_GET
async def live(request: HttpRequest) -> HttpResponse:
    """The list alone; nothing at all (204) while it is as the page last saw it."""
    if not request.headers.get("HX-Request"):
        return redirect("models:library")
    context = await under_way(few="few" in request.GET)
    if request.GET.get("seen") == context["seen_downloads"]:
        return HttpResponse(status=204)
    return await answer(request, LIST, context)


@require_GET
async def indicator(request: HttpRequest) -> HttpResponse:
    """One quiet line for every page; empty while nothing is under way."""
    return await answer(request, "models_app/_indicator.html", await under_way())


@require_POST
async def add(request: HttpRequest) -> HttpResponse:
    repository = request.POST.get("repository", "").strip()
    try:
        await sync_to_async(Download.objects.begin)(repository)
    except BadRequest as refusal:
        await sync_to_async(messages.error)(request, refusal.message)
        return back(request)
    if not request.headers.get("HX-Request"):
        return back(request)
    context = {"offer": await offer_of(repository)}
    response = await answer(request, "models_app/_install.html", context)
    response["HX-Trigger"] = "library-tick"
    return response


@require_POST
async def change(request: HttpRequest, uuid: str, verb: str) -> HttpResponse:
    if verb not in VERBS:
        raise Http404
    download = await aget_object_or_404(Download, uuid=uuid)
    await sync_to_async(VERBS[verb])(download)
    runner.poke()
    if not request.headers.get("HX-Request"):
        return back(request)
    return await answer(request, LIST, await under_way(few="few" in request.GET))


def first(download: Download) -> None:
    """Before every other that waits."""
    highest = Download.objects.unfinished().aggregate(highest=Max("priority"))["highest"] or 0
    download.set_priority(min(highest + 1, 1000))


def forget(download: Download) -> None:
    """Of one that failed: throw away what arrived, and the row with it."""
    if download.is_finished:
        download.on_cancel()
        download.folder.remove()
        download.delete()
    else:
        download.request_cancel()


VERBS = {
    "pause": Download.request_pause,
    "resume": Download.resume,
    "cancel": forget,
    "first": first,
}


def back(request: HttpRequest) -> HttpResponse:
    """Where the form was."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}):
        return HttpResponseRedirect(wanted)
    return redirect("models:library")
