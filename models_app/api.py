"""Models over HTTP: /v1/models and its alias /models, as OpenAI and MLX-GUI document them."""

from django.http import HttpRequest, HttpResponse

from mlxgui.api import error_response, json_api, json_response
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed, NotEnoughMemory
from mlxgui.runtime import get_runtime
from models_app import shapes
from models_app.manager_api import check_priority, delete
from models_app.models import Model
from models_app.states import Listed, join, listed

OFFICIAL_SDK = "X-Stainless-Lang"  # OpenAI's and Anthropic's own clients name themselves so
# What MLX-GUI documents for this route. Elsewhere these two are 507 and 503.
LOAD_STATUS: dict[type[EngineError], int] = {NotEnoughMemory: 400, LoadFailed: 500}


@json_api("GET")
async def model_list(request: HttpRequest) -> HttpResponse:
    """Both documented lists at once. OpenAI's has what can be used, ours what is there."""
    rows = [model async for model in Model.objects.all()]
    models = join(rows, get_runtime().pool)
    usable = [shapes.openai_item(one) for one in models if one.model.is_ready]
    every = [shapes.summary(one) for one in models]
    return json_response({"object": "list", "data": usable, "models": every})


@json_api("GET", "DELETE")
async def model_detail(request: HttpRequest, name: str) -> HttpResponse:
    if request.method == "DELETE":
        return await delete(request, name)
    shape = shapes.detail(await _listed(name))
    if OFFICIAL_SDK in request.headers:
        shape["id"] = shape["name"]  # MLX-GUI documents its integer here, OpenAI the name
    return json_response(shape)


@json_api("GET")
async def model_health(request: HttpRequest, name: str) -> HttpResponse:
    return json_response(shapes.health(await _listed(name)))


@json_api("POST")
async def model_load(request: HttpRequest, name: str) -> HttpResponse:
    """Answers when the model is ready."""
    priority = _priority(request.GET.get("priority", "0"))
    one = await _listed(name)
    try:
        await get_runtime().pool.load(one.model.spec(), priority)
    except (NotEnoughMemory, LoadFailed) as error:
        response = error_response(error)
        response.status_code = LOAD_STATUS[type(error)]
        return response
    how = "is already loaded" if one.state.is_loaded else "loaded successfully"
    return json_response({"message": f"Model '{one.model.name}' {how}", "status": "loaded"})


@json_api("POST")
async def model_unload(request: HttpRequest, name: str) -> HttpResponse:
    model = await Model.objects.aresolve(name)
    was_loaded = await get_runtime().pool.unload(model.key)
    how = "unloaded successfully" if was_loaded else "was not loaded"
    return json_response({"message": f"Model '{model.name}' {how}", "status": "unloaded"})


async def _listed(name: str) -> Listed:
    return listed(await Model.objects.aresolve(name), get_runtime().pool)


def _priority(text: str) -> int:
    try:
        priority = int(text)
    except ValueError:
        raise BadRequest("priority must be a whole number", param="priority") from None
    return check_priority(priority)
