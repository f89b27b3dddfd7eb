"""Completion endpoints, with and without the /v1 prefix."""

from django.urls import path

from chat_app import api, cache_api

urlpatterns = [
    path("v1/cache/stats", cache_api.stats, name="cache-stats"),
    path("v1/cache/reset", cache_api.reset, name="cache-reset"),
    path("v1/cache/warm", cache_api.warm, name="cache-warm"),
    path("v1/chat/completions", api.chat_completions, name="chat-completions"),
    path("chat/completions", api.chat_completions, name="chat-completions-alias"),
]
