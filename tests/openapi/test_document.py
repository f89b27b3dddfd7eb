"""/openapi.json: every API route is in it, and it is sound."""

import json
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from mlxgui.openapi.document import document, everything, examples, made
from mlxgui.openapi.operations import operations_of
from mlxgui.openapi.routes import api_routes
from mlxgui.openapi.tags import TAGS

DOCUMENT = document()


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


def test_every_route_says_what_it_takes_and_gives() -> None:
    silent = [
        route.path
        for route in api_routes()
        if set(operations_of(route.view)) != set(getattr(route.view, "methods", ("?",))) - {"HEAD"}
    ]
    assert silent == []


def test_every_operation_has_a_summary_an_answer_and_an_id_of_its_own() -> None:
    found = [
        (path, method, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
    ]
    assert [(p, m) for p, m, o in found if not 5 < len(o["summary"]) < 120] == []
    # 501 alone: a known route of another server's API that is plainly not served.
    answers = {"200", "202", "204", "501"}
    assert [(p, m) for p, m, o in found if not answers & set(o["responses"])] == []
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(set(ids)) == len(ids) >= 40


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names - set(DOCUMENT["components"]["schemas"]) == set()


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_every_tag_is_explained_and_used() -> None:
    used = {o["tags"][0] for item in DOCUMENT["paths"].values() for o in item.values()}
    assert used <= set(TAGS)
    assert [tag["name"] for tag in DOCUMENT["tags"]] == [name for name in TAGS if name in used]


@pytest.mark.parametrize("key", sorted(examples()))
def test_every_example_fits_its_schema(key: str) -> None:
    method, path = key.split()
    operation = DOCUMENT["paths"][path][method.lower()]
    example = examples()[key]
    if "request" in example:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator(resolved(schema)).validate(example["request"])
    if "answer" in example:
        status = "200" if "200" in operation["responses"] else "202"
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        assert not list(Draft202012Validator(resolved(schema)).iter_errors(example["answer"]))


def test_errors_have_the_shape_of_their_dialect() -> None:
    def error_of(path: str, method: str) -> str:
        answer = DOCUMENT["paths"][path][method]["responses"]["400"]
        return str(answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2])

    assert error_of("/v1/chat/completions", "post") == "OpenAIError"
    assert error_of("/v1/messages", "post") == "AnthropicError"
    assert error_of("/api/engine/models/load", "post") == "DetailError"


def test_it_is_made_once(client: Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["openapi"] == "3.1.0"
    assert made() is made()
    again = client.get("/openapi.json", headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_aliases_say_the_same() -> None:
    told = {one.route.path: one.operation for one in everything() if one.method == "POST"}
    assert told["/chat/completions"] is told["/v1/chat/completions"]
