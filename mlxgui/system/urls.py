from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from mlxgui.system import api, views

urlpatterns = [
    path("", api.root, name="root"),
    path("favicon.ico", RedirectView.as_view(url=static("favicon.svg")), name="favicon"),
    path("health", api.health, name="health"),
    path("v1/system/status", api.system_status, name="system-status"),
    path("v1/system/version", api.version, name="system-version"),
    path("v1/manager/status", api.manager_status, name="manager-status"),
    path("v1/settings", api.setting_list, name="settings"),
    path("v1/settings/<str:key>", api.setting_detail, name="setting"),
    path("setup/", views.setup, name="setup"),
    path("key/", views.key, name="key"),
    path("admin/login/", views.login, name="login"),
]
