from django.urls import path

from chat_app import views

app_name = "chat"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.new, name="new"),
    path("list/", views.conversations, name="list"),
    path("<uuid:id>/", views.conversation, name="conversation"),
    path("<uuid:id>/messages/<int:pk>/", views.message, name="message"),
    path("<uuid:id>/rename/", views.rename, name="rename"),
    path("<uuid:id>/pin/", views.pin, name="pin"),
    path("<uuid:id>/delete/", views.delete, name="delete"),
]
