from django.urls import path

from models_app import delete_views, download_views, views

app_name = "models"
urlpatterns = [
    path("", views.library, name="library"),
    path("live/", views.live, name="live"),
    path("scan/", views.rescan, name="scan"),
    path("downloads/", download_views.live, name="downloads"),
    path("downloads/indicator/", download_views.indicator, name="download-indicator"),
    path("downloads/add/", download_views.add, name="download"),
    path("downloads/<uuid:uuid>/<str:verb>/", download_views.change, name="download-change"),
    path("<int:pk>/delete/", delete_views.delete, name="delete"),
    path("<int:pk>/load/", views.load, name="load"),
    path("<int:pk>/unload/", views.unload, name="unload"),
]
