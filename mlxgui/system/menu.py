"""What the icon in the menu bar says and does, apart from how a menu is drawn.

It talks to the server as any program does: over the API, with the key.
"""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from msgspec import Struct

ANSWER_SECONDS = 5.0
AWAY = "The server does not answer"


class Look(Struct, frozen=True):
    """The menu's upper part at one moment."""

    title: str
    """Beside the icon: how many requests run; empty while none does."""
    lines: list[str]
    is_away: bool = False


class Menu:
    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def page(self) -> str:
        return f"{self.url}/chat/"

    def look(self) -> Look:
        try:
            told = self._ask("GET", "/v1/manager/status")
        except OSError:
            return Look("", [AWAY], is_away=True)
        loaded = told["loaded_models"]
        running = sum(model["in_flight"] for model in loaded.values())
        loading = [one["model"] for one in told["queue_status"] if one["status"] == "loading"]
        lines = [f"{name} · {model['memory_usage_gb']} GB" for name, model in loaded.items()]
        lines += [f"{name} · loading" for name in loading]
        return Look(str(running) if running else "", lines or ["No model is loaded"])

    def unload_all(self) -> int:
        """How many models left."""
        loaded = list(self._ask("GET", "/v1/manager/status")["loaded_models"])
        for name in loaded:
            self._ask("POST", f"/v1/models/{quote(name)}/unload")
        return len(loaded)

    def quit(self) -> None:
        """End the server; the icon goes with it."""
        self._ask("POST", "/v1/system/shutdown")

    def _ask(self, method: str, path: str) -> Any:
        """Raises OSError where the server does not answer, or answers with a refusal."""
        request = urllib.request.Request(self.url + path, method=method, headers=self.headers)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
