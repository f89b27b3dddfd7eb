"""JSON about the server itself. Errors are {"detail": ...}, as their document says."""

import platform

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from mlxgui.api import json_api, json_response
from mlxgui.openapi.operations import operation
from mlxgui.runtime import running_control
from mlxgui.system import answers, status
from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.lifecycle import CannotEnd
from mlxgui.system.models import Setting


class NewValue(msgspec.Struct, forbid_unknown_fields=True):
    value: bool | int | str


@operation(answer=answers.Root, answers={302: None})
@json_api("GET", "HEAD")
async def root(request: HttpRequest) -> HttpResponse:
    """A browser goes to the chat; a program learns who answers."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect("/chat/")
    return json_response({"name": "MLX-GUI API", "version": settings.VERSION, "status": "running"})


@operation(
    answer=answers.Health,
    answers={503: answers.Health},
    summary="Whether the server answers, and the model used last.",
)
@json_api("GET", "HEAD")
async def health(request: HttpRequest) -> HttpResponse:
    """Never waits for a model. 503 while no model can be served: the server ends, say."""
    return json_response(status.health(), 200 if status.is_alive() else 503)


@operation(answer=answers.SystemStatus, summary="This machine, its memory and its models.")
@json_api("GET", shape="detail")
async def system_status(request: HttpRequest) -> HttpResponse:
    return json_response(await status.system_status())


@operation(answer=answers.Ending, refuses=(409,), summary="End the server.")
@json_api("POST", shape="detail")
async def shutdown(request: HttpRequest) -> HttpResponse:
    """What runs may finish within two seconds; downloads go on without a server."""
    try:
        running_control().shut_down()
    except CannotEnd as reason:
        return json_response({"detail": str(reason)}, 409)
    return json_response({"message": "Server shutting down"})


@operation(answer=answers.Ending, refuses=(409,), summary="Start the server anew.")
@json_api("POST", shape="detail")
async def restart(request: HttpRequest) -> HttpResponse:
    """Refused where the server would not come back. `url` is where it will be."""
    try:
        address = running_control().restart(await Setting.objects.aas_dict())
    except CannotEnd as reason:
        return json_response({"detail": str(reason)}, 409)
    return json_response({"message": "Server restarting with updated settings", "url": address.url})


@operation(answer=answers.Version, summary="The version of the server and of Python.")
@json_api("GET", shape="detail")
async def version(request: HttpRequest) -> HttpResponse:
    facts = {"version": settings.VERSION, "python": platform.python_version()}
    return json_response({**facts, "started_at": status.running_since()})


@operation(answer=answers.ManagerStatus, summary="Models in memory and what waits for them.")
@json_api("GET", shape="detail")
async def manager_status(request: HttpRequest) -> HttpResponse:
    return json_response(await status.manager_status())


@operation(answer=answers.Settings, summary="Every setting with its value.")
@json_api("GET", shape="detail")
async def setting_list(request: HttpRequest) -> HttpResponse:
    return json_response(await Setting.objects.aas_dict())


@operation(
    "PUT",
    body=NewValue,
    answer=answers.SettingWritten,
    refuses=(404,),
    summary="Change one setting.",
)
@json_api("PUT", shape="detail")
async def setting_detail(request: HttpRequest, key: str) -> HttpResponse:
    if key not in DEFINITIONS:
        return json_response({"detail": f"Setting '{key}' not found"}, 404)
    try:
        body = msgspec.json.decode(request.body, type=NewValue)
        value = await Setting.objects.awrite(key, body.value)
    except msgspec.DecodeError as error:
        return json_response({"detail": f'The body must be {{"value": ...}}: {error}'}, 400)
    except ValidationError as error:
        return json_response({"detail": " ".join(error.messages)}, 400)
    found = DEFINITIONS[key]
    shown = {"key": key, "value": found.shown(value), "updated": True}
    return json_response({**shown, "applies": found.applies})
