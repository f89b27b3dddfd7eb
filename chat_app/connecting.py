"""What other programs need to talk to this server: address, key, model, and a guide for each."""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from chat_app import markdown
from chat_app.kinds import TALKING
from mlxgui.runtime import running_runtime
from mlxgui.system import keys
from models_app.models import Model

ANY_KEY = "any"
YOUR_KEY = "YOUR_KEY"
_HEADING = re.compile(r"^## (.+)\n", re.MULTILINE)
_PLACE = re.compile(r"%(url|key|model|docker)%")


class Guide(NamedTuple):
    name: str
    slug: str
    html: str


class Example(NamedTuple):
    """A call that the page can make."""

    path: str
    label: str
    body: str


@cache
def _sections() -> list[tuple[str, str]]:
    """Names and Markdown, in the order of the file."""
    parts = _HEADING.split((Path(__file__).parent / "clients.md").read_text())
    return list(zip(parts[1::2], parts[2::2], strict=True))


def guides(url: str, key: str, model: str) -> list[Guide]:
    """Filled in. A quote in a model's name is escaped as JSON, Python and JavaScript do it."""
    port = urlsplit(url).port
    filled = {
        "url": url,
        "key": key,
        "model": json.dumps(model, ensure_ascii=False)[1:-1],
        "docker": f"http://host.docker.internal:{port or 80}",
    }

    def fill(text: str) -> str:
        return _PLACE.sub(lambda found: filled[found[1]], text)

    return [
        Guide(name, name.lower().replace(" ", "-"), markdown.render(fill(text)))
        for name, text in _sections()
    ]


def key_to_show() -> str:
    """Never the real one: a page may be seen by more people than know it."""
    return YOUR_KEY if keys.configured() else ANY_KEY


def model_names() -> list[str]:
    """Models that chat: the one used last first, then by name."""
    names = list(
        Model.objects.ready()
        .filter(kind__in=TALKING)
        .order_by("name")
        .values_list("name", flat=True)
    )
    runtime = running_runtime()
    ready = [one for one in (runtime.pool.residents() if runtime else []) if one.state == "ready"]
    ready.sort(key=lambda one: str(one.last_used_at or one.loaded_at), reverse=True)
    first = [one.name for one in ready if one.name in names]
    return [*dict.fromkeys([*first, *names])]


def examples(model: str) -> list[Example]:
    hello = [{"role": "user", "content": "Hello, who are you?"}]
    few = {"max_tokens": 200}
    bodies = {
        "/v1/chat/completions": ("OpenAI chat", {"messages": hello, **few, "stream": True}),
        "/v1/responses": (
            "OpenAI responses",
            {"input": "Hello, who are you?", "max_output_tokens": 200, "stream": True},
        ),
        "/v1/messages": ("Anthropic messages", {"messages": hello, **few, "stream": True}),
        "/api/chat": ("Ollama chat", {"messages": hello, "stream": True}),
        "/v1/completions": ("OpenAI completions", {"prompt": "Once upon a time", **few}),
    }
    return [
        Example(path, label, json.dumps({"model": model, **body}, indent=2, ensure_ascii=False))
        for path, (label, body) in bodies.items()
    ]
