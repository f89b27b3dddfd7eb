"""Routes with a suffix come first: a name may hold slashes, and would swallow them."""

from django.urls import URLPattern, path

from models_app import api


def below(prefix: str, name: str) -> list[URLPattern]:
    """The same routes under another prefix."""
    return [
        path(prefix, api.model_list, name=name),
        path(f"{prefix}/<path:name>/load", api.model_load, name=f"{name}-load"),
        path(f"{prefix}/<path:name>/unload", api.model_unload, name=f"{name}-unload"),
        path(f"{prefix}/<path:name>/health", api.model_health, name=f"{name}-health"),
        path(f"{prefix}/<path:name>", api.model_detail, name=f"{name}-detail"),
    ]


urlpatterns = [*below("v1/models", "api-models"), path("models", api.model_list)]
