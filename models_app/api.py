"""Models over HTTP: /v1/models and its alias /models, as OpenAI and MLX-GUI document them."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from mlxgui.api import error_response, json_api, json_response
from mlxgui.engine.errors import BadRequest, LoadFailed, ModelNotFound, NotEnoughMemory
from mlxgui.openapi.operations import MODEL, Query, operation
from mlxgui.runtime import get_runtime
from models_app import answers, memory_plan, shapes
from models_app.adapters import aspec_for
from models_app.manager_api import check_priority, delete, flag
from models_app.models import Model
from models_app.options import honoured
from models_app.states import Listed, join, listed
from models_app.variants import avariants

REMOVAL = (
    Query("remove_files", bool, "whether the downloaded files go too; true if not given"),
    Query("outside", bool, "also the files of a folder that was only registered here"),
)
PRIORITY = Query("priority", int, "higher is sooner where loads wait; 0 if not given")
FORCE = Query("force", bool, "load it in spite of a warning; see the model's plan")
OFFICIAL_SDK = "X-Stainless-Lang"  # OpenAI's and Anthropic's own clients name themselves so


@operation(answer=answers.ModelList)
@json_api("GET")
async def model_list(request: HttpRequest) -> HttpResponse:
    """Both documented lists at once. OpenAI's has what can be used, ours what is there."""
    rows = [model async for model in Model.objects.all()]
    models = join(rows, get_runtime().pool)
    names = await avariants(rows)
    usable: list[dict[str, Any]] = []
    for one in (one for one in models if one.model.is_ready):
        usable.append(shapes.openai_item(one))
        usable += [shapes.variant_item(one, variant) for variant in names[one.model.pk]]
    every = [shapes.summary(one) for one in models]
    return json_response({"object": "list", "data": usable, "models": every})


@operation("GET", answer=answers.ModelDetail, refuses=(404,), summary="One model.")
@operation(
    "DELETE", answer=answers.Deleted, query=REMOVAL, refuses=(404, 409), summary="Delete a model."
)
@json_api("GET", "DELETE")
async def model_detail(request: HttpRequest, name: str) -> HttpResponse:
    if request.method == "DELETE":
        return await delete(request, name)
    one = await _listed(name)
    shape = {**shapes.detail(one), "options": await honoured(get_runtime().pool, one.model.key)}
    if OFFICIAL_SDK in request.headers:
        # MLX-GUI documents its integer here, OpenAI the name: a variant's own where it is one
        shape["id"] = name if any(mark in name for mark in ":@") else shape["name"]
    return json_response(shape)


@operation(answer=answers.ModelHealth, refuses=(404,), summary="Whether a model is ready.")
@json_api("GET")
async def model_health(request: HttpRequest, name: str) -> HttpResponse:
    return json_response(shapes.health(await _listed(name)))


@operation(answer=answers.Done, query=(PRIORITY, FORCE), refuses=(*MODEL, 500))
@json_api("POST")
async def model_load(request: HttpRequest, name: str) -> HttpResponse:
    """Answers when the model is ready. 400 and 500, elsewhere 507 and 503, are as MLX-GUI
    documents this route."""
    priority, force = _priority(request.GET.get("priority", "0")), flag(request, "force", False)
    one = await _listed(name)
    try:
        await get_runtime().pool.load((await aspec_for(name))[1], priority, force)
    except (NotEnoughMemory, LoadFailed) as error:
        response = error_response(error)
        response.status_code = 400 if isinstance(error, NotEnoughMemory) else 500
        return response
    how = "is already loaded" if one.state.is_loaded else "loaded successfully"
    return json_response({"message": f"Model '{one.model.name}' {how}", "status": "loaded"})


@operation(answer=answers.ModelPlan, refuses=(404, 503))
@json_api("GET")
async def model_plan(request: HttpRequest, name: str) -> HttpResponse:
    """What loading the model would take, in parts; whether it fits; what would leave for it."""
    model, spec = await aspec_for(name)
    return json_response(memory_plan.described(model, get_runtime().pool.preview(spec)))


@operation(answer=answers.Done, refuses=(404,), summary="Take a model out of memory.")
@json_api("POST")
async def model_unload(request: HttpRequest, name: str) -> HttpResponse:
    one = await _listed(name)
    key = one.model.key if one.model.error_message else (await aspec_for(name))[1].key
    was_loaded = await get_runtime().pool.unload(key)
    how = "unloaded successfully" if was_loaded else "was not loaded"
    return json_response({"message": f"Model '{one.model.name}' {how}", "status": "unloaded"})


async def _listed(name: str) -> Listed:
    try:
        model = await Model.objects.aresolve(name)
    except ModelNotFound:
        model = (await aspec_for(name))[0]  # base@adapter
    return listed(model, get_runtime().pool)


def _priority(text: str) -> int:
    try:
        priority = int(text)
    except ValueError:
        raise BadRequest("priority must be a whole number", param="priority") from None
    return check_priority(priority)
