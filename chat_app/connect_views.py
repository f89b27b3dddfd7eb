"""Pages for people who connect other programs: /connect/ and /connect/api/."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from chat_app import connecting
from mlxgui.openapi.reading import groups
from mlxgui.pages import page


@require_safe
def connect(request: HttpRequest) -> HttpResponse:
    names = connecting.model_names()
    wanted = request.GET.get("model", "")
    model = wanted if wanted in names else (names or ["MODEL"])[0]
    url = request.build_absolute_uri("/").rstrip("/")
    key = connecting.key_to_show()
    context = {
        "url": url,
        "key": key,
        "needs_key": key == connecting.YOUR_KEY,
        "model": model,
        "models": names,
        "guides": connecting.guides(url, key, model),
        "examples": connecting.examples(model),
    }
    return page(request, "chat_app/connect.html", context, partial="filled")


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """The API's document as a page."""
    words = request.GET.get("q", "").strip()[:100]
    url = request.build_absolute_uri("/").rstrip("/")
    context = {"groups": groups(words, url), "words": words, "url": url}
    return page(request, "chat_app/reference.html", context, partial="operations")
