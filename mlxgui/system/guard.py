"""Who may ask: the host that was meant, the site that asks, the key. Before anything else runs.

One question, `refusal()`, for HTTP (a middleware) and for WebSockets (a wrapper of the consumer).
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    parse_cookie,
)
from django.http.request import split_domain_port, validate_host
from django.utils.decorators import sync_and_async_middleware

from mlxgui.system import keys
from mlxgui.system.failures import json_failure
from mlxgui.system.paths import is_api, is_public
from mlxgui.wire.errors import Refused

STATE_CHANGING = frozenset(("POST", "PUT", "PATCH", "DELETE", "WEBSOCKET"))


class Asking(NamedTuple):
    """What a refusal may depend on."""

    method: str
    path: str
    host: str
    origin: str | None
    key: str
    cookie: str
    body_bytes: int = 0


class Refusal(NamedTuple):
    status: int
    code: str
    message: str


def is_same_site(origin: str, host: str) -> bool:
    """Name and port must match; the scheme is a proxy's affair."""
    return urlsplit(origin).netloc.lower() == host.lower()


def refusal(asking: Asking) -> Refusal | None:
    name, _ = split_domain_port(asking.host)
    if not validate_host(name, settings.ALLOWED_HOSTS):
        return Refusal(400, "unknown_host", f"This server is not known as {asking.host!r}.")
    changes = asking.method in STATE_CHANGING
    if changes and asking.origin is not None and not is_same_site(asking.origin, asking.host):
        return Refusal(403, "cross_site", "Requests from another site are refused.")
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if asking.body_bytes > limit:
        return Refusal(413, "body_too_large", f"A body may have {limit} bytes at most.")
    if is_public(asking.path) or keys.is_allowed(asking.key, asking.cookie):
        return None
    return Refusal(401, "invalid_api_key", "A valid API key is needed: Bearer or x-api-key.")


# -- HTTP -----------------------------------------------------------------------------------------


def from_request(request: HttpRequest) -> Asking:
    headers = request.headers
    bearer = headers.get("Authorization", "")
    return Asking(
        method=request.method or "",
        path=request.path_info,
        host=headers.get("Host") or request.META.get("SERVER_NAME", ""),
        origin=headers.get("Origin"),
        key=keys.from_headers(bearer, headers.get("X-Api-Key", "")),
        cookie=request.COOKIES.get(keys.COOKIE, ""),
        body_bytes=body_bytes(request),
    )


def body_bytes(request: HttpRequest) -> int:
    """What will have to fit into memory; the files of a form go to disk instead."""
    size = request.META.get("CONTENT_LENGTH") or "0"
    is_form = (request.content_type or "").startswith("multipart/")
    return int(size) if size.isdecimal() and not is_form else 0


def refuse(request: HttpRequest, why: Refusal) -> HttpResponse:
    # A fragment is not sent on: htmx would follow and put the whole page in its place.
    is_page = not is_api(request.path_info) and "HX-Request" not in request.headers
    if why.status == 401 and is_page:
        return HttpResponseRedirect(f"/key/?next={quote(request.get_full_path())}")
    refused = Refused(why.status, why.code, why.message)
    response = json_failure(request.path_info, refused)
    if why.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def marked(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """What pages get from Django's middleware, which an API's answers do not pass."""
    if is_api(request.path_info):
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if isinstance(response, HttpResponse):
            response.headers.setdefault("Content-Length", str(len(response.content)))
    return response


@sync_and_async_middleware
def guard(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def answer(request: HttpRequest) -> HttpResponseBase:
            why = refusal(from_request(request))
            return marked(request, refuse(request, why) if why else await get_response(request))

        return answer

    def answer_now(request: HttpRequest) -> HttpResponseBase:
        why = refusal(from_request(request))
        return marked(request, refuse(request, why) if why else get_response(request))

    return answer_now


# -- WebSockets -----------------------------------------------------------------------------------

type Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def from_scope(scope: dict[str, Any]) -> Asking:
    headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
    key = keys.from_headers(headers.get("authorization", ""), headers.get("x-api-key", ""))
    cookie = parse_cookie(headers.get("cookie", "")).get(keys.COOKIE, "")
    origin = headers.get("origin")
    return Asking("WEBSOCKET", scope["path"], headers.get("host", ""), origin, key, cookie)


def guard_socket(application: Application) -> Application:
    """A refused socket is closed before it opens, which a browser sees as a 403."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if refusal(from_scope(scope)):
            await receive()
            await send({"type": "websocket.close", "code": 4003})
        else:
            await application(scope, receive, send)

    return guarded
