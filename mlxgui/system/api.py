"""JSON about the server itself. Errors are {"detail": ...}, as their document says."""

import platform

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from mlxgui.api import json_api, json_response
from mlxgui.system import status
from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.models import Setting


class NewValue(msgspec.Struct, forbid_unknown_fields=True):
    value: bool | int | str


@json_api("GET", "HEAD")
async def root(request: HttpRequest) -> HttpResponse:
    """A browser goes to the chat; a program learns who answers."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect("/chat/")
    return json_response({"name": "MLX-GUI API", "version": settings.VERSION, "status": "running"})


@json_api("GET", "HEAD")
async def health(request: HttpRequest) -> HttpResponse:
    return json_response(status.health())


@json_api("GET", shape="detail")
async def system_status(request: HttpRequest) -> HttpResponse:
    return json_response(await status.system_status())


@json_api("GET", shape="detail")
async def version(request: HttpRequest) -> HttpResponse:
    return json_response({"version": settings.VERSION, "python": platform.python_version()})


@json_api("GET", shape="detail")
async def manager_status(request: HttpRequest) -> HttpResponse:
    return json_response(await status.manager_status())


@json_api("GET", shape="detail")
async def setting_list(request: HttpRequest) -> HttpResponse:
    return json_response(await Setting.objects.aas_dict())


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
    return json_response({"key": key, "value": DEFINITIONS[key].shown(value), "updated": True})
