"""The document for people: operations in groups, with their fields as rows and a call to copy."""

import json
from functools import cache
from typing import Any, NamedTuple

from mlxgui.openapi.document import document

MOST_LEVELS = 3
_NUMBERS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


class Field(NamedTuple):
    name: str
    kind: str
    note: str
    level: int
    is_required: bool


class Operation(NamedTuple):
    id: str
    method: str
    path: str
    alias: str
    """The same without /v1, where there is one."""
    summary: str
    description: str
    parameters: list[Field]
    fields: list[Field]
    answer: list[Field]
    refusals: list[tuple[str, str]]
    call: str


class Group(NamedTuple):
    name: str
    about: str
    operations: list[Operation]


@cache
def _read() -> dict[str, Any]:
    return document()


@cache
def _operations(url: str) -> dict[str, list[Operation]]:
    """By tag."""
    found: dict[str, list[Operation]] = {}
    paths = _read()["paths"]
    for path, item in paths.items():
        if f"/v1{path}" in paths:
            continue  # shown as an alias
        for method, raw in item.items():
            found.setdefault(raw["tags"][0], []).append(_operation(url, path, method.upper(), raw))
    return found


def groups(words: str, url: str) -> list[Group]:
    """What holds every one of these words in its path, summary or fields; all without words."""
    wanted = words.lower().split()
    found = []
    for tag in _read()["tags"]:
        kept = [one for one in _operations(url)[tag["name"]] if _has(one, wanted)]
        if kept:
            found.append(Group(tag["name"], tag["description"], kept))
    return found


def _has(one: Operation, wanted: list[str]) -> bool:
    names = " ".join(field.name for field in (*one.parameters, *one.fields))
    text = f"{one.method} {one.path} {one.alias} {one.summary} {names}".lower()
    return all(word in text for word in wanted)


def _operation(url: str, path: str, method: str, raw: dict[str, Any]) -> Operation:
    answers = raw["responses"]
    good: dict[str, Any] = next((answers[code] for code in ("200", "202") if code in answers), {})
    parameters = [
        Field(
            name=one["name"],
            kind=kind_of(one["schema"]),
            note=one.get("description", "in the path" if one["in"] == "path" else ""),
            level=0,
            is_required=bool(one.get("required")),
        )
        for one in raw.get("parameters", [])
    ]
    return Operation(
        id=raw["operationId"],
        method=method,
        path=path,
        alias=_alias(path),
        summary=raw["summary"],
        description=raw.get("description", ""),
        parameters=parameters,
        fields=_fields_of(raw.get("requestBody", {}).get("content", {})),
        answer=_fields_of(good.get("content", {})),
        refusals=[(code, a["description"]) for code, a in answers.items() if code >= "400"],
        call=_curl(url, path, method, raw.get("requestBody", {}).get("content", {})),
    )


def _alias(path: str) -> str:
    short = path.removeprefix("/v1")
    return short if short != path and short in _read()["paths"] else ""


# -- fields ---------------------------------------------------------------------------------------


def _fields_of(content: dict[str, Any]) -> list[Field]:
    media = content.get("application/json") or content.get("multipart/form-data") or {}
    return fields(media.get("schema", {}))


def fields(schema: dict[str, Any], level: int = 0) -> list[Field]:
    """Each property, those of objects within it below it."""
    found = []
    shape = _resolved(schema)
    shape = _resolved(shape["items"]) if shape.get("type") == "array" else shape
    needed = shape.get("required", ())
    for name, one in sorted(shape.get("properties", {}).items(), key=lambda p: p[0] not in needed):
        required = name in needed
        found.append(Field(name, kind_of(one), _note(one), level, required))
        if level + 1 < MOST_LEVELS and (inner := _inner(one)):
            found += fields(inner, level + 1)
    return found


def _inner(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The only object that a property may be or hold; where several may come, none is shown."""
    every = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    items = [one.get("items", one) for one in every]
    objects = [one for one in items if isinstance(one, dict) and "$ref" in one]
    return objects[0] if len(objects) == 1 else None


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = _read()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def kind_of(schema: dict[str, Any]) -> str:
    """A type in few words: `integer ≥ 1 or null`."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return kind_of(_resolved(schema))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {kind_of(schema.get('items') or {})}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _NUMBERS.items() if key in schema]
    return " ".join([kind, *bounds])


def _note(schema: dict[str, Any]) -> str:
    found = schema.get("description", "")
    if schema.get("default") not in (None, "", [], {}):
        found = f"{found} Default: {json.dumps(schema['default'], ensure_ascii=False)}.".strip()
    return found


# -- a call to copy -------------------------------------------------------------------------------


def _curl(url: str, path: str, method: str, content: dict[str, Any]) -> str:
    parts = [f"curl {url}{path}" if method == "GET" else f"curl -X {method} {url}{path}"]
    if media := content.get("application/json"):
        body = json.dumps(media.get("example", {}), ensure_ascii=False).replace("'", "'\\''")
        parts += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
    elif form := content.get("multipart/form-data"):
        shape = _resolved(form["schema"])
        for name in shape.get("required", ()):
            is_file = "contentEncoding" in shape["properties"][name]
            parts.append(f"-F {name}={'@FILE' if is_file else 'VALUE'}")
    return " \\\n  ".join(parts)
