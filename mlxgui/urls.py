"""Every address. Includes only; what hangs below a prefix is its app's affair."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("mlxgui.system.urls")),
    path("", include("mlxgui.openapi.urls")),
    # Before the library's: a model's name there may hold slashes, and would swallow “/generate”.
    path("", include("chat_app.api_urls")),
    path("", include("models_app.api_urls")),
    path("chat/", include("chat_app.urls")),
    path("connect/", include("chat_app.connect_urls")),
    path("library/", include("models_app.urls")),
    path("discover/", include("models_app.discover_urls")),
    path("training/", include("training_app.urls")),
    path("admin/", admin.site.urls),
]

handler404 = "mlxgui.system.failures.not_found"
handler500 = "mlxgui.system.failures.server_error"
