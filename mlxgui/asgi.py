"""The composition root: HTTP and WebSockets; the Runtime starts with the first scope.

Daphne has no lifespan, so the first scope that arrives starts what lives as long as the server.
"""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlxgui.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  models need the registry above
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from chat_app.routing import websocket_urlpatterns  # noqa: E402
from mlxgui.runtime import get_runtime  # noqa: E402
from mlxgui.system.guard import guard_socket  # noqa: E402

protocols = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": guard_socket(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await get_runtime().start()
    await protocols(scope, receive, send)
