"""Installing, removing and watching models, as MLX-GUI documents it."""

from typing import Any
from urllib.parse import quote

import msgspec
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from mlxgui.api import json_api, json_response
from mlxgui.engine.errors import BadRequest, ModelNotFound
from mlxgui.openapi.operations import operation
from mlxgui.runtime import get_runtime
from mlxgui.wire.fields import decode
from models_app import answers, discovery, removal, shapes
from models_app.discover_api import HUB, hub_api
from models_app.downloads import Download, check_repository
from models_app.hub_facts import HubModel
from models_app.models import Model, plain_name
from models_app.states import Listed, join, listed

LOWEST_PRIORITY, HIGHEST_PRIORITY = -1000, 1000
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Install(msgspec.Struct):
    model_id: str
    name: str | None = None


class Priority(msgspec.Struct):
    priority: int


def body_of[T](request: HttpRequest, kind: type[T]) -> T:
    return decode(msgspec.json.Decoder(kind), request.body or b"{}")


def check_priority(priority: int) -> int:
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        between = f"from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
        raise BadRequest(f"priority must be {between}", param="priority")
    return priority


# -- install --------------------------------------------------------------------------------------


@operation(
    body=Install,
    answer=answers.Installed,
    answers={202: answers.Installing},
    refuses=(403, 404, 409, *HUB, 507),
)
@hub_api("POST")
async def install(request: HttpRequest) -> HttpResponse:
    """Starts the download and answers at once; `installed` is said of what is there already."""
    wanted = body_of(request, Install)
    name = check_name(wanted.name)
    check_repository(wanted.model_id)
    here = await Model.objects.filter(huggingface_id=wanted.model_id, error_message="").afirst()
    if here is not None:
        return json_response(installed(here))
    await sync_to_async(check_free)(wanted.model_id, name)
    found = (await discovery.look(wanted.model_id)).value
    download = await sync_to_async(Download.objects.begin)(wanted.model_id, name)
    return json_response(installing(download, found), 202)


def check_name(name: str | None) -> str:
    try:
        plain_name(name or "-")
    except ValidationError as error:
        raise BadRequest(" ".join(error.messages), param="name") from None
    return (name or "")[:180]


def check_free(repository: str, name: str) -> None:
    """Blocking. A name that another model has, or that another download is to get, is taken."""
    others = Download.objects.unfinished().exclude(repository=repository)
    if name and (Model.objects.filter(name=name).exists() or others.filter(name=name).exists()):
        raise BadRequest(
            f"There is a model called “{name}” already. Choose another name.", param="name"
        )


def installed(model: Model) -> dict[str, Any]:
    return {
        "message": f"Model '{model.name}' installed successfully",
        "model_name": model.name,
        "model_id": model.huggingface_id,
        "status": "installed",
        "estimated_memory_gb": shapes.gigabytes(model.memory_bytes),
    }


def installing(download: Download, found: HubModel) -> dict[str, Any]:
    name = download.model_name
    return {
        "message": f"Model '{name}' is being downloaded",
        "model_name": name,
        "model_id": download.repository,
        "status": "downloading",
        "estimated_memory_gb": shapes.gigabytes(found.memory_bytes),
        "size_gb": shapes.gigabytes(found.download_bytes),
        "job_id": str(download.uuid),
        "status_url": f"/v1/manager/models/{quote(name)}/status",
    }


# -- delete ---------------------------------------------------------------------------------------


async def delete(request: HttpRequest, name: str) -> HttpResponse:
    """`outside=true` also deletes the files of a folder that was only registered here."""
    model = await Model.objects.aresolve(name)
    files, outside = flag(request, "remove_files", True), flag(request, "outside", False)
    await sync_to_async(removal.check_may_go)(model)
    if model.profile is None:
        await get_runtime().pool.unload(model.key)
    done = await sync_to_async(removal.remove)(model, files=files, outside=outside)
    return json_response(
        {
            "message": f"Model '{model.profile or model.name}' deleted successfully",
            "removed_files": done.files,
            "status": "deleted",
            "freed_bytes": done.freed_bytes,
        }
    )


def flag(request: HttpRequest, name: str, default: bool) -> bool:
    text = request.GET.get(name, str(default)).lower()
    if text not in TRUTH:
        raise BadRequest(f"{name} must be true or false", param=name)
    return TRUTH[text]


# -- watch ----------------------------------------------------------------------------------------


@operation(answer=answers.ManagedModels, summary="Every model, usable or not.")
@json_api("GET", shape="detail")
async def models(request: HttpRequest) -> HttpResponse:
    rows = [model async for model in Model.objects.all()]
    every = [shapes.summary(one) for one in join(rows, get_runtime().pool)]
    return json_response({"models": every})


@operation(answer=answers.ModelStatus, refuses=(404,))
@json_api("GET", shape="detail")
async def status(request: HttpRequest, name: str) -> HttpResponse:
    """Of a model that is here, or of one that is still on its way."""
    download = await sync_to_async(Download.objects.named)(name)
    try:
        one = listed(await Model.objects.aresolve(name), get_runtime().pool)
    except ModelNotFound:
        if download is None:
            raise
        return json_response(status_of_download(download))
    under_way = download_facts(download) if download else {}
    return json_response({**status_of_model(one), **under_way})


def status_of_model(one: Listed) -> dict[str, Any]:
    state = one.state
    return {
        "name": one.model.name,
        "status": state.status,
        "loaded": state.is_loaded,
        "loaded_at": shapes.moment(state.loaded_at),
        "last_used_at": shapes.moment(state.last_used_at or one.model.last_used_at),
        "memory_usage_gb": shapes.gigabytes(state.memory_bytes),
        "memory_peak_gb": shapes.gigabytes(state.peak_bytes) or None,
        "plan_error_percent": state.error_percent,
        "note": state.kv_note or None,
        "queue_position": state.queue_position or None,
        "load_progress": state.percent if state.status == "loading" else None,
        "loaded_bytes": state.loaded_bytes if state.status == "loading" else None,
        "total_bytes": state.total_bytes if state.status == "loading" else None,
        "waiting": state.waiting,
        "error_message": state.reason or None,
    }


def status_of_download(download: Download) -> dict[str, Any]:
    running = download.status == Download.Status.RUNNING
    return {
        "name": download.model_name,
        "status": "downloading" if running else str(download.status),
        "loaded": False,
        "loaded_at": None,
        "last_used_at": None,
        "memory_usage_gb": 0.0,
        "queue_position": None,
        "error_message": download.error or None,
        **download_facts(download),
    }


def download_facts(download: Download) -> dict[str, Any]:
    """Of one that does not run, nothing comes: neither speed nor time left."""
    running = download.is_running
    return {
        "download_progress": round(100 * download.progress, 1),
        "download_stage": str(download.status),
        "download_status": download.said,
        "downloaded_mb": round(download.done_bytes / 1e6, 1),
        "total_mb": round(download.total_bytes / 1e6, 1),
        "download_speed_mbps": round(download.speed_bytes / 1e6, 2) if running else 0.0,
        "download_eta_seconds": download.seconds_left if running else None,
        "job_id": str(download.uuid),
    }


@operation(body=Priority, answer=answers.PriorityTaken, refuses=(404,))
@json_api("POST", shape="detail")
async def priority(request: HttpRequest, name: str) -> HttpResponse:
    """Reorders what waits, to be downloaded or to be loaded. `applied` says whether it waited."""
    wanted = check_priority(body_of(request, Priority).priority)
    download = await sync_to_async(Download.objects.named)(name)
    if download is not None:
        await sync_to_async(download.set_priority)(wanted)
        called, applied = download.model_name, True
    else:
        model = await Model.objects.aresolve(name)
        called, applied = model.name, get_runtime().pool.set_priority(model.key, wanted)
    return json_response(
        {
            "model": called,
            "priority": wanted,
            "message": "Priority update requested",
            "applied": applied,
        }
    )
