from django.urls import path

from models_app import views

app_name = "models"
urlpatterns = [
    path("", views.library, name="library"),
    path("live/", views.live, name="live"),
    path("scan/", views.rescan, name="scan"),
    path("<int:pk>/load/", views.load, name="load"),
    path("<int:pk>/unload/", views.unload, name="unload"),
]
