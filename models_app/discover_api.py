"""/v1/discover: models on the hub, in the shapes that MLX-GUI documents."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from msgspec import Meta

from mlxgui.api import error_response, json_api, json_response
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.memory import GIB
from mlxgui.openapi.operations import Query, operation
from mlxgui.runtime import memory_for_models
from models_app import answers, discovery
from models_app.discovery import Answer
from models_app.hub import SORTS, HubFailed
from models_app.hub_facts import HubModel
from models_app.shapes import gigabytes, moment

MOST = 100
COMPATIBLE_SOURCE, COMPATIBLE_SIZE = 100, 20
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

QUERY = Query("query", str, "words to search for")
LIMIT = Query("limit", Annotated[int, Meta(ge=1, le=MOST)], "how many")
SORT = Query("sort", Literal[tuple(SORTS)], "the order")
AUTHOR = Query("author", str, "only from this account")
ROOM = Query("max_memory_gb", Annotated[float, Meta(gt=0)], "instead of what this computer has")
HUB = (429, 502, 503, 504)
"""How the hub fails: asks to wait, answers nonsense, cannot be reached, takes too long."""


def hub_api(*methods: str) -> Callable[[View], View]:
    """`json_api` whose failures of the hub have their own status."""

    def wrap(view: View) -> View:
        @json_api(*methods)
        @wraps(view)
        async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                return await view(request, *args, **kwargs)
            except HubFailed as failure:
                return failed(failure)

        return answer

    return wrap


def failed(failure: HubFailed) -> HttpResponse:
    response = error_response(failure)
    response.status_code = failure.status
    if seconds := failure.trouble.retry_after_seconds:
        response["Retry-After"] = str(seconds)
    return response


@operation(
    answer=answers.HubModels,
    query=(QUERY, LIMIT, SORT, AUTHOR),
    refuses=HUB,
    summary="Search for models in MLX format.",
)
@hub_api("GET")
async def models(request: HttpRequest) -> HttpResponse:
    sort = request.GET.get("sort", "downloads")
    if sort not in SORTS:
        raise BadRequest(f"sort must be one of: {', '.join(SORTS)}", param="sort")
    found = await discovery.search(
        request.GET.get("query", ""),
        sort=sort,
        limit=whole_number(request, "limit", 20),
        author=request.GET.get("author", ""),
    )
    return listing(found)


@operation(
    answer=answers.HubModels, query=(LIMIT,), refuses=HUB, summary="The most downloaded models."
)
@hub_api("GET")
async def popular(request: HttpRequest) -> HttpResponse:
    return listing(await discovery.search("", limit=whole_number(request, "limit", 20)))


@operation(
    answer=answers.HubModels, query=(LIMIT,), refuses=HUB, summary="What many people look at now."
)
@hub_api("GET")
async def trending(request: HttpRequest) -> HttpResponse:
    limit = whole_number(request, "limit", 20)
    return listing(await discovery.search("", sort="trending", limit=limit))


@operation(
    answer=answers.HubModels, query=(QUERY, LIMIT), refuses=HUB, summary="Models that see pictures."
)
@hub_api("GET")
async def vision(request: HttpRequest) -> HttpResponse:
    return listing(await _by_task(request, "image-text-to-text"))


@operation(answer=answers.HubModels, query=(QUERY, LIMIT), refuses=HUB, summary="Models that hear.")
@hub_api("GET")
async def stt(request: HttpRequest) -> HttpResponse:
    return listing(await _by_task(request, "automatic-speech-recognition"))


@operation(
    answer=answers.HubModels, query=(QUERY, LIMIT), refuses=HUB, summary="Models for embeddings."
)
@hub_api("GET")
async def embeddings(request: HttpRequest) -> HttpResponse:
    limit = whole_number(request, "limit", 20)
    found = await discovery.embeddings(request.GET.get("query", ""), limit=limit)
    return listing(found)


@operation(answer=answers.Categories, refuses=HUB, summary="Models by what they are good for.")
@hub_api("GET")
async def categories(request: HttpRequest) -> HttpResponse:
    found = await discovery.categories()
    return json_response({"categories": found.value, **ages(found)})


@operation(
    answer=answers.HubModels, query=(QUERY, ROOM), refuses=HUB, summary="What fits this computer."
)
@hub_api("GET")
async def compatible(request: HttpRequest) -> HttpResponse:
    room = room_bytes(request)
    found = await discovery.search(request.GET.get("query", ""), limit=COMPATIBLE_SOURCE)
    fitting = discovery.fitting(found.value, room)[:COMPATIBLE_SIZE]
    items = [{**item(model), "memory_fit": memory_fit(model, room)} for model in fitting]
    return json_response(
        {"models": items, "total": len(items), "max_memory_gb": gigabytes(room), **ages(found)}
    )


@operation(answer=answers.HubDetail, refuses=(403, 404, *HUB), summary="All about one repository.")
@hub_api("GET")
async def model(request: HttpRequest, repository: str) -> HttpResponse:
    found = await discovery.look(repository)
    return json_response({**detail(found.value), **ages(found)})


async def _by_task(request: HttpRequest, task: str) -> Answer[list[HubModel]]:
    limit = whole_number(request, "limit", 10)
    return await discovery.search(request.GET.get("query", ""), task=task, limit=limit)


def whole_number(request: HttpRequest, name: str, default: int, most: int = MOST) -> int:
    text = request.GET.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadRequest(f"{name} must be a whole number from 1 to {most}", param=name)
    return int(text)


def room_bytes(request: HttpRequest) -> int:
    text = request.GET.get("max_memory_gb")
    if text is None:
        return memory_for_models()
    try:
        room = float(text)
    except ValueError:
        room = -1.0
    if not 0 < room < 1 << 20:
        raise BadRequest("max_memory_gb must be a number above 0", param="max_memory_gb")
    return int(room * GIB)


# -- shapes ---------------------------------------------------------------------------------------


def listing(answer: Answer[list[HubModel]]) -> HttpResponse:
    items = [item(model) for model in answer.value]
    return json_response({"models": items, "total": len(items), **ages(answer)})


def ages(answer: Answer[Any]) -> dict[str, Any]:
    age: dict[str, Any] = {"age_seconds": round(answer.age_seconds)}
    return {**age, "warning": answer.warning} if answer.warning else age


def item(model: HubModel) -> dict[str, Any]:
    return {
        "id": model.repository,
        "name": model.name,
        "author": model.author,
        "downloads": model.downloads,
        "likes": model.likes,
        "model_type": model.kind or "other",
        "size_gb": gigabytes(model.download_bytes) or None,
        "estimated_memory_gb": gigabytes(model.memory_bytes) or None,
        "mlx_compatible": model.is_mlx,
        "has_mlx_version": model.is_mlx,
        "mlx_repo_id": None,
        "tags": model.tags,
        "description": model.description,
        "updated_at": moment(model.updated_at),
        "quantization": model.quantization or None,
        "parameters": model.parameters or None,
        "gated": model.gated,
    }


def memory_fit(model: HubModel, room: int) -> str:
    return f"{gb(model.memory_bytes)} GB required, {gb(room)} GB available"


def detail(model: HubModel) -> dict[str, Any]:
    room = memory_for_models()
    fits = 0 < model.memory_bytes <= room
    return {
        **item(model),
        "created_at": moment(model.created_at),
        "library_name": model.library or None,
        "pipeline_tag": model.task or None,
        "context_window": model.context_tokens or None,
        "sha": model.commit,
        "files": [{"path": file.path, "size_bytes": file.size_bytes} for file in model.files],
        "system_compatible": fits,
        "compatibility_message": compatibility(model, room, fits),
    }


def compatibility(model: HubModel, room: int, fits: bool) -> str:
    if not model.memory_bytes:
        return (
            "❌ Unknown memory - This repository has no safetensors weights that can be loaded here"
        )
    if fits:
        return f"✅ Compatible - {gb(room)}GB available, {gb(model.memory_bytes)}GB required"
    return (
        f"❌ Insufficient memory - This model requires {gb(model.memory_bytes)}GB but you have "
        f"{gb(room)}GB available"
    )


def gb(count: int) -> str:
    return f"{count / GIB:.1f}"
