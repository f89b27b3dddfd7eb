"""Django's own middleware, for pages only.

Each of them costs a thread hop or two in an asynchronous server. An API request needs no session,
no cookie and no form token, so it drives past; the guard has checked it, and marks its answer.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.middleware import clickjacking, common, csp, csrf, security

from mlxgui.system.paths import is_api


class PagesOnly:
    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> Any:
        """The answer, or the coroutine of it where the server is asynchronous."""
        if is_api(request.path_info):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SecurityMiddleware(PagesOnly, security.SecurityMiddleware):
    pass


class ContentSecurityPolicyMiddleware(PagesOnly, csp.ContentSecurityPolicyMiddleware):
    pass


class SessionMiddleware(PagesOnly, sessions.SessionMiddleware):
    pass


class CommonMiddleware(PagesOnly, common.CommonMiddleware):
    pass


class AuthenticationMiddleware(PagesOnly, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(PagesOnly, messages.MessageMiddleware):
    pass


class XFrameOptionsMiddleware(PagesOnly, clickjacking.XFrameOptionsMiddleware):
    pass


class CsrfViewMiddleware(PagesOnly, csrf.CsrfViewMiddleware):
    async def process_view(  # type: ignore[override]
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Asynchronous, so that an API view costs no thread; a view that is not exempt is checked
        wherever it stands."""
        if getattr(view, "csrf_exempt", False):
            return None
        return await sync_to_async(super().process_view)(request, view, args, kwargs)
