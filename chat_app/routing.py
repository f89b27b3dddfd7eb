from typing import Any

from django.urls import path

from chat_app.consumers import ChatConsumer

websocket_urlpatterns: list[Any] = [path("ws/chat/<uuid:id>/", ChatConsumer.as_asgi())]
