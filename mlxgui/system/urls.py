from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from mlxgui.system import api, log_views, overview, views

urlpatterns = [
    path("", api.root, name="root"),
    path("favicon.ico", RedirectView.as_view(url=static("favicon.svg")), name="favicon"),
    path("health", api.health, name="health"),
    path("v1/system/status", api.system_status, name="system-status"),
    path("v1/system/shutdown", api.shutdown, name="system-shutdown"),
    path("v1/system/restart", api.restart, name="system-restart"),
    path("v1/system/version", api.version, name="system-version"),
    path("v1/manager/status", api.manager_status, name="manager-status"),
    path("v1/settings", api.setting_list, name="settings"),
    path("v1/settings/<str:key>", api.setting_detail, name="setting"),
    path("system/", overview.overview, name="system-overview"),
    path("system/live/", overview.live, name="system-live"),
    path("system/samples/", overview.samples, name="system-samples"),
    path("system/unload/", overview.unload, name="system-unload"),
    path("system/restart/", overview.ending, {"verb": "restart"}, name="system-ask-restart"),
    path("system/shutdown/", overview.ending, {"verb": "shutdown"}, name="system-ask-shutdown"),
    path("system/logs/<str:name>/", log_views.log, name="system-log"),
    path("system/logs/<str:name>/lines/", log_views.lines, name="system-log-lines"),
    path("system/logs/<str:name>/download/", log_views.download, name="system-log-download"),
    path("setup/", views.setup, name="setup"),
    path("key/", views.key, name="key"),
    path("admin/login/", views.login, name="login"),
]
