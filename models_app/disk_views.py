"""Disk by model, and the page that deletes orphans after asking."""

import shutil

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.views.decorators.http import require_GET, require_http_methods

from mlxgui.pages import page
from models_app import disk


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """A fragment for the System page; a page of its own without script."""
    orphans = disk.orphans()
    context = {
        "models": disk.models_on_disk(),
        "free_bytes": shutil.disk_usage(settings.HOME.path).free,
        "orphans": orphans,
        "orphan_bytes": sum(one.size_bytes for one in orphans),
    }
    return page(request, "models_app/disk.html", context, partial="disk")


@require_http_methods(["GET", "POST"])
def clean(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return page(request, "models_app/clean.html", {"orphans": disk.orphans()})
    freed = disk.clean(request.POST.getlist("orphan"))
    if freed:
        messages.success(request, f"Deleted. {filesizeformat(freed)} came back.")
    else:
        messages.warning(request, "Nothing was deleted: nothing was chosen, or it is in use again.")
    return redirect("system-overview")
