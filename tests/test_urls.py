"""Every address and its name. A name is what code and templates use; an address is a promise."""

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve

ID = "0190b3a0-7a4e-7cc0-8f0e-000000000001"

ADDRESSES = {
    "/": "root",
    "/favicon.ico": "favicon",
    "/health": "health",
    "/v1/system/status": "system-status",
    "/v1/system/version": "system-version",
    "/v1/manager/status": "manager-status",
    "/v1/settings": "settings",
    "/v1/settings/server_port": "setting",
    "/setup/": "setup",
    "/key/": "key",
    "/admin/login/": "login",
    "/admin/": "admin:index",
    "/v1/models": "api-models",
    "/v1/models/starter": "api-models-detail",
    "/v1/models/owner/name": "api-models-detail",
    "/v1/models/owner/name/load": "api-models-load",
    "/v1/models/owner/name/unload": "api-models-unload",
    "/v1/models/owner/name/health": "api-models-health",
    "/v1/chat/completions": "chat-completions",
    "/v1/cache/stats": "cache-stats",
    "/v1/cache/reset": "cache-reset",
    "/v1/cache/warm": "cache-warm",
    "/chat/completions": "chat-completions-alias",
    "/chat/": "chat:index",
    "/chat/new/": "chat:new",
    "/chat/list/": "chat:list",
    f"/chat/{ID}/": "chat:conversation",
    f"/chat/{ID}/messages/1/": "chat:message",
    f"/chat/{ID}/rename/": "chat:rename",
    f"/chat/{ID}/pin/": "chat:pin",
    f"/chat/{ID}/delete/": "chat:delete",
    "/v1/models/install": "api-models-install",
    "/v1/manager/models": "manager-models",
    "/v1/manager/models/owner/name/status": "manager-model-status",
    "/v1/manager/models/owner/name/priority": "manager-model-priority",
    "/v1/discover/models": "api-discover",
    "/v1/discover/models/owner/name": "api-discover-model",
    "/v1/discover/popular": "api-discover-popular",
    "/v1/discover/trending": "api-discover-trending",
    "/v1/discover/vision": "api-discover-vision",
    "/v1/discover/stt": "api-discover-stt",
    "/v1/discover/embeddings": "api-discover-embeddings",
    "/v1/discover/categories": "api-discover-categories",
    "/v1/discover/compatible": "api-discover-compatible",
    "/api/engine/models": "engine-models",
    "/api/engine/models/download": "engine-download",
    "/api/engine/models/delete": "engine-delete",
    "/api/engine/models/register": "engine-register",
    "/api/engine/models/scan": "engine-scan",
    "/api/engine/models/active": "engine-active",
    "/api/engine/models/load": "engine-load",
    "/api/engine/models/unload": "engine-unload",
    "/api/engine/models/adapters": "engine-adapters",
    "/api/engine/models/verify": "engine-verify",
    "/api/engine/models/owner/name/format": "engine-format",
    "/discover/": "discover:discover",
    "/discover/owner/name/": "discover:repository",
    "/discover/owner/name/state/": "discover:state",
    "/library/downloads/": "models:downloads",
    "/library/downloads/indicator/": "models:download-indicator",
    "/library/downloads/add/": "models:download",
    f"/library/downloads/{ID}/pause/": "models:download-change",
    "/library/": "models:library",
    "/library/live/": "models:live",
    "/library/scan/": "models:scan",
    "/library/1/delete/": "models:delete",
    "/library/1/load/": "models:load",
    "/library/1/unload/": "models:unload",
    "/training/": "training:index",
}


@pytest.mark.parametrize(("address", "name"), ADDRESSES.items())
def test_an_address_has_its_name(address: str, name: str) -> None:
    assert resolve(address).view_name == name


def names(patterns: list[URLPattern | URLResolver], namespace: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from names(pattern.url_patterns, namespace + inner)
        elif pattern.name:
            yield namespace + pattern.name


def test_every_name_is_in_the_table() -> None:
    ours = {name for name in names(get_resolver().url_patterns) if not name.startswith("admin:")}
    assert ours - set(ADDRESSES.values()) == set()
