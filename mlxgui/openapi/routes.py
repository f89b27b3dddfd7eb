"""The API's routes, found by walking the addresses."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver

from mlxgui.system.paths import is_api

NOT_FOR_PROGRAMS = ("favicon",)
_PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
_SCHEMAS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
_TEXT = {"type": "string", "minLength": 1}


class Route(NamedTuple):
    path: str
    """As OpenAPI writes it: `/v1/models/{name}/load`."""
    name: str
    view: Callable[..., Any]
    parameters: dict[str, dict[str, Any]]
    """Schemas of what is in the path, by name."""


def _patterns(found: list[URLPattern | URLResolver], before: str) -> Iterator[tuple[str, Any]]:
    for pattern in found:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        else:
            yield route, pattern


def api_routes() -> list[Route]:
    """In the order of the addresses, without pages."""
    return [
        Route(
            path="/" + _PARAMETER.sub(r"{\g<name>}", route),
            name=pattern.name or "",
            view=pattern.callback,
            parameters={
                found["name"]: _SCHEMAS.get(found["kind"], _TEXT)
                for found in _PARAMETER.finditer(route)
            },
        )
        for route, pattern in _patterns(get_resolver().url_patterns, "")
        if is_api("/" + _PARAMETER.sub("x", route)) and pattern.name not in NOT_FOR_PROGRAMS
    ]
