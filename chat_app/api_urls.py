"""Completion endpoints, with and without the /v1 prefix."""

from django.urls import URLPattern, include, path

from chat_app import api, cache_api, responses_api, studio_api, task_urls, tokens_api


def below(prefix: str, name: str) -> list[URLPattern]:
    """Stored responses, under either prefix."""
    return [
        path(prefix, responses_api.create, name=name),
        path(f"{prefix}/input_tokens", responses_api.count, name=f"{name}-count"),
        path(f"{prefix}/<str:id>", responses_api.one, name=f"{name}-one"),
        path(f"{prefix}/<str:id>/cancel", responses_api.cancel_one, name=f"{name}-cancel"),
        path(f"{prefix}/<str:id>/input_items", responses_api.input_items, name=f"{name}-items"),
    ]


urlpatterns = [
    path("", include("chat_app.ollama_urls")),
    path("v1/cache/stats", cache_api.stats, name="cache-stats"),
    path("v1/cache/reset", cache_api.reset, name="cache-reset"),
    path("v1/cache/warm", cache_api.warm, name="cache-warm"),
    path("v1/chat/completions", api.chat_completions, name="chat-completions"),
    path("chat/completions", api.chat_completions, name="chat-completions-alias"),
    path("v1/completions", api.completions, name="completions"),
    path("completions", api.completions, name="completions-alias"),
    *below("v1/responses", "responses"),
    *below("responses", "responses-alias"),
    path("v1/tokenize", tokens_api.tokenize, name="tokenize"),
    path("v1/detokenize", tokens_api.detokenize, name="detokenize"),
    path("tokenize", tokens_api.tokenize, name="tokenize-alias"),
    path("detokenize", tokens_api.detokenize, name="detokenize-alias"),
    path("v1/messages", api.messages, name="messages"),
    path("v1/messages/count_tokens", tokens_api.count_messages, name="messages-count"),
    path("messages", api.messages, name="messages-alias"),
    path("messages/count_tokens", tokens_api.count_messages, name="messages-count-alias"),
    path("api/engine/chat", studio_api.chat, name="engine-chat"),
    path("api/engine/chat/stop", studio_api.stop, name="engine-stop"),
    path("api/engine/predict", studio_api.predict, name="engine-predict"),
    path("v1/models/<path:name>/generate", studio_api.generate, name="api-models-generate"),
    path("unload", studio_api.unload, name="unload"),
    *task_urls.urlpatterns,
]
