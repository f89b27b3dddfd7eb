"""Completion endpoints, with and without the /v1 prefix."""

from django.urls import path

from chat_app import api

urlpatterns = [
    path("v1/chat/completions", api.chat_completions, name="chat-completions"),
    path("chat/completions", api.chat_completions, name="chat-completions-alias"),
]
