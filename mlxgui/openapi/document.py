"""The OpenAPI 3.1 document, made once from what the views say and kept as bytes."""

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from importlib.resources import files
from types import UnionType
from typing import Any, NamedTuple, get_args

import msgspec
from django.conf import settings

from mlxgui.openapi import errors
from mlxgui.openapi.operations import Operation, Query, operations_of, shape_of
from mlxgui.openapi.routes import Route, api_routes
from mlxgui.openapi.tags import TAGS, tag_of

JSON = "application/json"
EVENTS = "text/event-stream"
_REF = "#/components/schemas/"
_QUALIFIED = re.compile(r"(?:\w+\.)+(\w+\.\w+)$")


class Made(NamedTuple):
    body: bytes
    etag: str


class Told(NamedTuple):
    """One operation at one address."""

    route: Route
    method: str
    operation: Operation

    @property
    def types(self) -> list[Any]:
        said = self.operation
        queries = [one.kind for one in (*said.query, *said.headers)]
        wanted = [said.body, said.form, said.answer, *said.answers.values(), *queries]
        return [one for one in wanted if one is not None]


def everything() -> Iterator[Told]:
    for route in api_routes():
        for method, operation in operations_of(route.view).items():
            yield Told(route, method, operation)


@functools.cache
def made() -> Made:
    body = json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()
    return Made(body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


def document() -> dict[str, Any]:
    """The whole document as plain data."""
    told = list(everything())
    schemas = Schemas([kind for one in told for kind in one.types])
    paths: dict[str, dict[str, Any]] = {}
    for one in told:
        item = paths.setdefault(one.route.path, {})
        item[one.method.lower()] = operation_object(one, schemas)
    used = {method["tags"][0] for item in paths.values() for method in item.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLX GUI",
            "version": settings.VERSION,
            "summary": "Language, vision, embedding, speech and image models on this computer.",
        },
        "tags": [{"name": n, "description": d} for n, d in TAGS.items() if n in used],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


# -- schemas --------------------------------------------------------------------------------------


class Schemas:
    """A schema for each type, and the components that they share, under short names."""

    def __init__(self, kinds: list[Any]) -> None:
        each = [one for kind in [*kinds, *errors.TYPES.values()] for one in members(kind)]
        made, components = msgspec.json.schema_components(each, ref_template=_REF + "{name}")
        self.components = {short(name): renamed(one) for name, one in components.items()}
        self._made = [(kind, renamed(one)) for kind, one in zip(each, made, strict=True)]

    def of(self, kind: Any) -> dict[str, Any]:
        found = [self._of(one) for one in members(kind)]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _of(self, kind: Any) -> dict[str, Any]:
        return next(schema for known, schema in self._made if known is kind or known == kind)


def members(kind: Any) -> tuple[Any, ...]:
    """Of `A | B` both, since msgspec itself could not tell two Structs apart; else the type."""
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def short(name: str) -> str:
    """`mlxgui.wire.openai_body.Body` is `openai_body.Body`; a name alone stays."""
    return _QUALIFIED.sub(r"\1", name)


def renamed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [renamed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _REF + short(value.removeprefix(_REF))
        if key == "$ref" and isinstance(value, str)
        else renamed(value)
        for key, value in schema.items()
    }


# -- operations -----------------------------------------------------------------------------------


def operation_object(one: Told, schemas: Schemas) -> dict[str, Any]:
    said, summary, description = one.operation, *words(one)
    found: dict[str, Any] = {
        "operationId": operation_id(one),
        "tags": [tag_of(one.route.path)],
        "summary": summary,
    }
    if description:
        found["description"] = description
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in one.route.parameters.items()
    ]
    parameters += [parameter(query, "query", schemas) for query in said.query]
    parameters += [parameter(header, "header", schemas) for header in said.headers]
    if parameters:
        found["parameters"] = parameters
    if said.body is not None or said.form is not None:
        found["requestBody"] = request_body(one, schemas)
    found["responses"] = responses(one, schemas)
    return found


def words(one: Told) -> tuple[str, str]:
    """Summary and description: said outright, or the view's docstring."""
    lines = (inspect.getdoc(one.route.view) or "").partition("\n")
    summary = one.operation.summary or lines[0]
    description = one.operation.description or lines[2]
    return summary.strip(), " ".join(description.split())


def operation_id(one: Told) -> str:
    """From the address, since two addresses may share a view."""
    words = re.findall(r"\w+", one.route.path)
    return "-".join([one.method.lower(), *words])


def parameter(query: Query, where: str, schemas: Schemas) -> dict[str, Any]:
    found = {"name": query.name, "in": where, "schema": schemas.of(query.kind)}
    return {**found, "description": query.note} if query.note else found


def request_body(one: Told, schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if one.operation.body is not None:
        content[JSON] = {"schema": schemas.of(one.operation.body), **example(one, "request")}
    if one.operation.form is not None:
        content["multipart/form-data"] = {"schema": schemas.of(one.operation.form)}
    return {"required": not one.operation.is_body_optional, "content": content}


def responses(one: Told, schemas: Schemas) -> dict[str, Any]:
    said, shape = one.operation, shape_of(one.route.view)
    found: dict[str, Any] = {}
    content: dict[str, Any] = {media: {"schema": _raw(media)} for media in said.media}
    if said.answer is not None:
        content[JSON] = {"schema": schemas.of(said.answer), **example(one, "answer")}
    if content:
        found["200"] = {"description": "The answer.", "content": content}
    for status, kind in said.answers.items():
        meaning = {"description": f"{HTTPStatus(status).phrase}."}
        body = {JSON: {"schema": schemas.of(kind)}} if kind is not None else {}
        found[str(status)] = {**meaning, "content": body} if body else meaning
    has_body = said.body is not None or said.form is not None
    error = {JSON: {"schema": schemas.of(errors.TYPES[shape])}}
    for status in errors.refusals(one.method, has_body=has_body, more=said.refuses, shape=shape):
        meaning = {"description": errors.MEANINGS[status]}
        found[str(status)] = {**meaning, "content": error}
    return found


def _raw(media: str) -> dict[str, Any]:
    """Text has a schema; events and bytes have none of their own in OpenAPI 3.1."""
    is_text = media.startswith(("text/", "application/x-ndjson"))
    return {"type": "string"} if is_text and not media.startswith(EVENTS) else {}


# -- examples -------------------------------------------------------------------------------------


@functools.cache
def examples() -> dict[str, dict[str, Any]]:
    """The documents' own examples, by `METHOD /path`."""
    text = (files("mlxgui.openapi") / "examples.json").read_text()
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def example(one: Told, which: str) -> dict[str, Any]:
    found = examples().get(f"{one.method} {one.route.path}", {})
    return {"example": found[which]} if which in found else {}
