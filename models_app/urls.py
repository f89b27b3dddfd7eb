from django.urls import path

from models_app import delete_views, disk_views, download_views, settings_views, views

app_name = "models"
urlpatterns = [
    path("", views.library, name="library"),
    path("live/", views.live, name="live"),
    path("scan/", views.rescan, name="scan"),
    path("disk/", disk_views.overview, name="disk"),
    path("disk/clean/", disk_views.clean, name="clean"),
    path("downloads/", download_views.live, name="downloads"),
    path("downloads/indicator/", download_views.indicator, name="download-indicator"),
    path("downloads/add/", download_views.add, name="download"),
    path("downloads/<uuid:uuid>/<str:verb>/", download_views.change, name="download-change"),
    path("<uuid:uuid>/settings/", settings_views.settings, name="settings"),
    path("<uuid:uuid>/reload/", settings_views.reload, name="reload"),
    path("<uuid:uuid>/profiles/new/", settings_views.profile, name="profile-new"),
    path("<uuid:uuid>/profiles/<int:pk>/", settings_views.profile, name="profile"),
    path(
        "<uuid:uuid>/profiles/<int:pk>/delete/",
        settings_views.delete_profile,
        name="profile-delete",
    ),
    path("<int:pk>/delete/", delete_views.delete, name="delete"),
    path("<int:pk>/plan/", views.plan, name="plan"),
    path("<int:pk>/load/", views.load, name="load"),
    path("<int:pk>/unload/", views.unload, name="unload"),
]
