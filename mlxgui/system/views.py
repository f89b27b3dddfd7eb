"""Getting in: the first account, the API key in a browser, the admin's login."""

from ipaddress import ip_address

from django.conf import settings
from django.contrib import admin, auth
from django.contrib.auth.models import User
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from mlxgui.pages import page
from mlxgui.system import keys
from mlxgui.system.forms import FirstAccountForm, KeyForm


def needs_first_account() -> bool:
    return not User.objects.filter(is_superuser=True).exists()


def is_from_this_computer(request: HttpRequest) -> bool:
    """By the client's own address, with no proxy between, on a server bound to loopback."""
    forwarded = {"X-Forwarded-For", "Forwarded", "X-Real-Ip"} & set(request.headers)
    if forwarded or not settings.BOUND_TO_LOOPBACK:
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def setup(request: HttpRequest) -> HttpResponse:
    """Once, on a fresh machine: the account that may do everything. Gone as soon as it exists."""
    if not needs_first_account() or not is_from_this_computer(request):
        raise Http404
    form = FirstAccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():  # IMMEDIATE: of two that come together, one finds the other's
            if not needs_first_account():
                raise Http404
            user = form.save()
        auth.login(request, user)
        return HttpResponseRedirect("/admin/")
    return page(request, "system/setup.html", {"form": form})


def login(request: HttpRequest) -> HttpResponseBase:
    """The admin's own, except while there is nobody who could log in."""
    if needs_first_account() and is_from_this_computer(request):
        return HttpResponseRedirect("/setup/")
    return admin.site.login(request)


def key(request: HttpRequest) -> HttpResponse:
    """Where a browser shows the API key once; a cookie remembers."""
    if not keys.configured():
        return HttpResponseRedirect(next_page(request))
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        response = HttpResponseRedirect(next_page(request))
        response.set_cookie(
            keys.COOKIE,
            keys.cookie_value(),
            max_age=keys.MAX_AGE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
        return response
    return page(request, "system/key.html", {"form": form})


def next_page(request: HttpRequest) -> str:
    wanted = request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return wanted if safe else "/chat/"
