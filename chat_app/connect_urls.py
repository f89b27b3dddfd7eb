from django.urls import path

from chat_app import connect_views

app_name = "connect"
urlpatterns = [
    path("", connect_views.connect, name="connect"),
    path("api/", connect_views.reference, name="api"),
]
