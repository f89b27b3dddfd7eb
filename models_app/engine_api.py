"""/api/engine/models: the same models, as Silicon Studio's clients ask for them."""

import asyncio
import itertools
from pathlib import Path
from typing import Annotated, Any

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from msgspec.structs import replace

from mlxgui.api import json_api, json_response
from mlxgui.engine.errors import BadRequest, LoadFailed, Unsupported
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.runtime import get_runtime
from models_app import answers, removal
from models_app import engine_shapes as shapes
from models_app.adapters import aspec_for
from models_app.downloads import Download
from models_app.folders import folders_with_config
from models_app.inspection import BrokenFolder
from models_app.library import ascan, register
from models_app.manager_api import body_of
from models_app.models import KvQuantization, Model
from models_app.states import join

SCAN_DEPTH = 4
MOST_FOLDERS = 500
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Which(msgspec.Struct):
    model_id: Id


class Register(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    path: Id
    url: Annotated[str, msgspec.Meta(max_length=2048)] = ""


class Scan(msgspec.Struct):
    path: Id


class Load(msgspec.Struct):
    model_id: Id
    kv_quantization: int | None = None


class Verify(msgspec.Struct):
    cleanup: bool = False


def engine_api(*methods: str) -> Any:
    return json_api(*methods, shape="detail")


@operation(answer=list[answers.EngineModel])
@engine_api("GET")
async def models(request: HttpRequest) -> HttpResponse:
    """What is here, then what is on its way."""
    rows = [model async for model in Model.objects.all()]
    downloads = {job.repository: job async for job in Download.objects.shown()}
    here = [shapes.entry(row, downloads.get(row.huggingface_id)) for row in rows]
    ids = {row.huggingface_id for row in rows}
    rest = [shapes.unfinished(job) for name, job in downloads.items() if name not in ids]
    return json_response([*here, *rest])


@operation(
    body=Which, answer=answers.EngineStatus, refuses=(409, 507), summary="Download a repository."
)
@engine_api("POST")
async def download(request: HttpRequest) -> HttpResponse:
    wanted = body_of(request, Which).model_id
    await sync_to_async(Download.objects.begin)(wanted)
    return json_response({"status": "download_started", "model_id": wanted})


@operation(
    body=Which, answer=answers.EngineDeleted, refuses=(404, 409), summary="Delete a model's files."
)
@engine_api("POST")
async def delete(request: HttpRequest) -> HttpResponse:
    wanted = body_of(request, Which).model_id
    model = await Model.objects.aresolve(wanted)
    await sync_to_async(removal.check_may_go)(model)
    if model.profile is None:
        await get_runtime().pool.unload(model.key)
    done = await sync_to_async(removal.remove)(model)
    return json_response(
        {"status": "deleted", "model_id": wanted, "removed_files": done.files,
         "freed_bytes": done.freed_bytes}
    )  # fmt: skip


@operation(body=Register, answer=list[answers.EngineModel])
@engine_api("POST")
async def register_model(request: HttpRequest) -> HttpResponse:
    """One folder, or each model in a folder of models."""
    wanted = body_of(request, Register)
    folder = folder_of(wanted.path)
    named = wanted.name if (folder / "config.json").is_file() else ""
    if wanted.url and not wanted.url.startswith(("https://", "http://")):
        raise BadRequest("url must begin with https:// or http://", param="url")
    rows = await sync_to_async(register_all)(folder, named, wanted.url)
    if not rows:
        raise BadRequest(f"There is no model in {folder}.", param="path")
    return json_response([shapes.entry(row) for row in rows])


@operation(body=Scan, answer=list[answers.EngineModel], summary="Register every model in a folder.")
@engine_api("POST")
async def scan(request: HttpRequest) -> HttpResponse:
    folder = folder_of(body_of(request, Scan).path)
    rows = await sync_to_async(register_all)(folder)
    return json_response([shapes.entry(row) for row in rows if not row.error_message])


def folder_of(path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_absolute() or "\0" in path or not folder.is_dir():
        raise BadRequest("path must be an existing folder, from / on", param="path")
    return folder


def register_all(folder: Path, name: str = "", url: str = "") -> list[Model]:
    """Blocking. The folder itself where it is a model, else each model in it."""
    if (folder / "config.json").is_file():
        return [register(folder, name, url)]
    found = itertools.islice(folders_with_config(folder, SCAN_DEPTH), MOST_FOLDERS)
    return [register(path) for path in found]


@operation(answer=answers.Active)
@engine_api("GET")
async def active(request: HttpRequest) -> HttpResponse:
    """The one used last among those in memory."""
    rows = [model async for model in Model.objects.all()]
    ready = [one for one in join(rows, get_runtime().pool) if one.state.is_loaded]
    ready.sort(key=lambda one: str(one.state.last_used_at or one.state.loaded_at))
    return json_response({"model": shapes.active(ready[-1]) if ready else None})


@operation(body=Load, answer=answers.EngineLoaded, refuses=MODEL, summary="Load a model.")
@engine_api("POST")
async def load(request: HttpRequest) -> HttpResponse:
    """With `kv_quantization` it is loaded anew where it runs without; that holds until it is
    unloaded, and changes nothing in the model's settings."""
    wanted = body_of(request, Load)
    model, spec = await aspec_for(wanted.model_id)
    pool, bits = get_runtime().pool, wanted.kv_quantization
    if bits is None:
        await pool.load(spec)
        return json_response(shapes.loaded(model))
    check_kv(model, bits)
    wish = {"kv_bits": bits, "kv_if_possible": False}
    if "kv_start_tokens" not in spec.chosen:
        wish["kv_start_tokens"] = 0  # as Silicon Studio does
    spec = replace(spec, options=replace(spec.options, **wish))
    if pool.renew(spec):
        await pool.unload(spec.key)
    try:
        await pool.load(spec)
    except LoadFailed as error:
        if not error.message.startswith("kv_quantization"):
            raise
        pool.failures.pop(spec.key, None)  # of this wish, not of the model
        raise Unsupported(error.message, param="kv_quantization") from None
    return json_response(shapes.loaded(model))


def check_kv(model: Model, bits: int) -> None:
    if bits not in KvQuantization.values:
        raise BadRequest("kv_quantization must be 4 or 8", param="kv_quantization")
    if not model.can_chat:
        raise Unsupported(
            f"A model of the kind {model.get_kind_display()} keeps no KV cache; leave "
            "kv_quantization out.",
            param="kv_quantization",
        )


@operation(answer=answers.EngineStatus)
@engine_api("POST")
async def unload(request: HttpRequest) -> HttpResponse:
    """Everything that is loaded: these clients know of one model only."""
    pool = get_runtime().pool
    for resident in pool.residents():
        await pool.unload(resident.key)
    return json_response({"status": "unloaded"})


@operation(answer=list[answers.EngineModel], summary="Models that are fine-tuned.")
@engine_api("GET")
async def adapters(request: HttpRequest) -> HttpResponse:
    rows = Model.objects.filter(is_finetuned=True)
    return json_response([shapes.entry(row) async for row in rows])


@operation(answer=answers.Format, refuses=(404, 503), summary="A model's template and tokens.")
@engine_api("GET")
async def model_format(request: HttpRequest, name: str) -> HttpResponse:
    model = await Model.objects.aresolve(name)
    try:
        return json_response(await sync_to_async(shapes.format_of)(model))
    except BrokenFolder as reason:
        raise LoadFailed(str(reason)) from None


def without_folder(rows: list[Model]) -> list[Model]:
    return [row for row in rows if not Path(row.path).is_dir()]


@operation(body=Verify, is_body_optional=True, answer=answers.Verified)
@engine_api("POST")
async def verify(request: HttpRequest) -> HttpResponse:
    """Look at every folder again; entries whose folder is gone are orphans."""
    cleanup = body_of(request, Verify).cleanup
    settings.HOME.make()
    await ascan()
    rows = [model async for model in Model.objects.all()]
    gone = await asyncio.to_thread(without_folder, rows)
    orphans = [{"id": str(row.uuid), "name": row.name, "reason": row.error_message} for row in gone]
    if cleanup:
        await Model.objects.filter(pk__in=[row.pk for row in gone]).adelete()
    removed = len(gone) if cleanup else 0
    return json_response({"checked": len(rows), "orphans": orphans, "removed": removed})
