"""Routes with a suffix come first: a name may hold slashes, and would swallow them."""

from django.urls import URLPattern, path

from models_app import api, discover_api, engine_api, manager_api


def below(prefix: str, name: str) -> list[URLPattern]:
    """The same routes under another prefix."""
    return [
        path(prefix, api.model_list, name=name),
        path(f"{prefix}/install", manager_api.install, name=f"{name}-install"),
        path(f"{prefix}/<path:name>/load", api.model_load, name=f"{name}-load"),
        path(f"{prefix}/<path:name>/plan", api.model_plan, name=f"{name}-plan"),
        path(f"{prefix}/<path:name>/unload", api.model_unload, name=f"{name}-unload"),
        path(f"{prefix}/<path:name>/health", api.model_health, name=f"{name}-health"),
        path(f"{prefix}/<path:name>", api.model_detail, name=f"{name}-detail"),
    ]


manager = "v1/manager/models"
discover = "v1/discover"
engine = "api/engine/models"

urlpatterns = [
    *below("v1/models", "api-models"),
    path("models", api.model_list),
    path(manager, manager_api.models, name="manager-models"),
    path(f"{manager}/<path:name>/status", manager_api.status, name="manager-model-status"),
    path(f"{manager}/<path:name>/priority", manager_api.priority, name="manager-model-priority"),
    path(f"{discover}/models", discover_api.models, name="api-discover"),
    path(f"{discover}/popular", discover_api.popular, name="api-discover-popular"),
    path(f"{discover}/trending", discover_api.trending, name="api-discover-trending"),
    path(f"{discover}/vision", discover_api.vision, name="api-discover-vision"),
    path(f"{discover}/stt", discover_api.stt, name="api-discover-stt"),
    path(f"{discover}/embeddings", discover_api.embeddings, name="api-discover-embeddings"),
    path(f"{discover}/categories", discover_api.categories, name="api-discover-categories"),
    path(f"{discover}/compatible", discover_api.compatible, name="api-discover-compatible"),
    path(f"{discover}/models/<path:repository>", discover_api.model, name="api-discover-model"),
    path(engine, engine_api.models, name="engine-models"),
    path(f"{engine}/download", engine_api.download, name="engine-download"),
    path(f"{engine}/delete", engine_api.delete, name="engine-delete"),
    path(f"{engine}/register", engine_api.register_model, name="engine-register"),
    path(f"{engine}/scan", engine_api.scan, name="engine-scan"),
    path(f"{engine}/active", engine_api.active, name="engine-active"),
    path(f"{engine}/load", engine_api.load, name="engine-load"),
    path(f"{engine}/unload", engine_api.unload, name="engine-unload"),
    path(f"{engine}/adapters", engine_api.adapters, name="engine-adapters"),
    path(f"{engine}/verify", engine_api.verify, name="engine-verify"),
    path(f"{engine}/<path:name>/format", engine_api.model_format, name="engine-format"),
]
