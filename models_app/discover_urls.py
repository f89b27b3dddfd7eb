from django.urls import path

from models_app import discover_views as views

app_name = "discover"
urlpatterns = [
    path("", views.discover, name="discover"),
    path("<str:author>/<str:name>/state/", views.state, name="state"),
    path("<str:author>/<str:name>/", views.repository, name="repository"),
]
