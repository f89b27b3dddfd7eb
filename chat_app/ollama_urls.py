"""Ollama's addresses, all below /api/."""

from django.urls import path

from chat_app import ollama_api, ollama_library_api

urlpatterns = [
    path("api/chat", ollama_api.chat, name="ollama-chat"),
    path("api/generate", ollama_api.generate, name="ollama-generate"),
    path("api/embed", ollama_api.embed, name="ollama-embed"),
    path("api/embeddings", ollama_api.embeddings, name="ollama-embeddings"),
    path("api/tags", ollama_library_api.tags, name="ollama-tags"),
    path("api/show", ollama_library_api.show, name="ollama-show"),
    path("api/ps", ollama_library_api.ps, name="ollama-ps"),
    path("api/version", ollama_library_api.version, name="ollama-version"),
    path("api/pull", ollama_library_api.pull, name="ollama-pull"),
    path("api/delete", ollama_library_api.delete, name="ollama-delete"),
    path("api/copy", ollama_library_api.copy, name="ollama-copy"),
    path("api/create", ollama_library_api.create, name="ollama-create"),
    path("api/push", ollama_library_api.push, name="ollama-push"),
]
