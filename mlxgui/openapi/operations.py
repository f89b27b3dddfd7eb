"""What an API view says of itself: the types it takes and gives, and the ways it refuses."""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

type Shape = Literal["openai", "detail", "anthropic", "ollama"]
"""How an error looks: OpenAI's object, `{"detail"}` alone, Anthropic's object, Ollama's text."""

MODEL = (404, 503, 504, 507)
"""Refusals of every route that runs a model: unknown, busy or broken, too slow, too large."""


class Query(Struct, frozen=True):
    """One parameter behind the question mark. `kind` is any type that msgspec knows."""

    name: str
    kind: Any = str
    note: str = ""


class Operation(Struct, kw_only=True, frozen=True):
    """One method of one view. Types are whatever msgspec can make a schema of."""

    summary: str = ""
    """One line; without it, the first line of the view's docstring."""
    description: str = ""
    body: Any = None
    """The type of the JSON body."""
    is_body_optional: bool = False
    form: Any = None
    """The Struct of a multipart form's fields; `bytes` fields are files."""
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    """Headers that change the answer."""
    answer: Any = None
    """The type of the JSON answer."""
    answers: dict[int, Any] = {}
    """Answers with statuses of their own, such as 202."""
    media: tuple[str, ...] = ()
    """Content types of answers that are not one JSON document: streams, sound, text."""
    refuses: tuple[int, ...] = ()
    """Statuses of refusals beside those that every route has."""


def operation[V: Callable[..., Any]](*methods: str, **said: Any) -> Callable[[V], V]:
    """Put above `json_api` or around a view: what these methods take and give.

    Without methods it speaks for all that the view has.
    """

    def wrap(view: V) -> V:
        told: dict[str, Operation] = dict(getattr(view, "operations", {}))
        for method in methods or getattr(view, "methods", ()):
            told[method] = Operation(**said)
        return mark(view, operations=told)

    return wrap


def mark[V: Callable[..., Any]](view: V, **facts: Any) -> V:
    """Note on a view what the document will ask: `methods`, `shape`, `operations`."""
    for name, fact in facts.items():
        setattr(view, name, fact)
    return view


def operations_of(view: Callable[..., Any]) -> dict[str, Operation]:
    """By method. Empty where the view says nothing of itself."""
    found: dict[str, Operation] = getattr(view, "operations", {})
    return {name: one for name, one in found.items() if name != "HEAD"}


def shape_of(view: Callable[..., Any] | None) -> Shape:
    shape: Shape = getattr(view, "shape", "openai")
    return shape
