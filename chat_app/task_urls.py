"""Models that do not chat, with and without the /v1 prefix."""

from django.urls import path

from chat_app import task_api

_ROUTES = {
    "embeddings": ("embeddings", task_api.embed),
    "rerank": ("rerank", task_api.rank),
    "audio/transcriptions": ("transcriptions", task_api.transcribe),
    "audio/translations": ("translations", task_api.translate),
    "audio/speech": ("speech", task_api.speak),
    "audio/voices": ("voices", task_api.voices),
    "images/generations": ("image-generations", task_api.draw),
    "images/edits": ("image-edits", task_api.edit),
}
urlpatterns = [
    path(f"{before}{route}", view, name=f"{name}{after}")
    for route, (name, view) in _ROUTES.items()
    for before, after in (("v1/", ""), ("", "-alias"))
]
