"""Every field of every JSON body with values that nobody expects: a clear answer, never a fault."""

from collections.abc import Iterator
from typing import Any

import pytest

from mlxgui.openapi.document import document, examples
from tests.live import LiveServer

pytestmark = pytest.mark.model

ODD: list[Any] = [
    *(True, 0, -1, 10**40, 2**64, 0.5, 1e308, "", "\0", "🦙../..", "data:image/png;base64,AAAA"),
    *([], [None], [[]], [-1, 10**30], [{}], {}, {"a": None}, {"0": 10**40}, {"type": "x"}),
]
KINDS: dict[type, set[str]] = {
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
}
SHORT = {"max_tokens": 2, "max_output_tokens": 2, "options": {"num_predict": 2}}
LEFT_OUT = ("/api/engine/models/scan", "/api/engine/models/register", "/v1/models/install")
"""They walk folders or ask the hub; their own tests say what they refuse."""
DOCUMENT = document()


def schema_of(path: str, method: str) -> dict[str, Any]:
    content = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"].get(name, {})
    return found


def kinds_of(schema: dict[str, Any]) -> set[str]:
    """JSON's names of what may come; empty means anything."""
    if "$ref" in schema:
        return {"object"}
    if "anyOf" in schema:
        return set().union(*map(kinds_of, schema["anyOf"]))
    return {schema["type"]} if "type" in schema else set()


def odd_for(schema: dict[str, Any]) -> list[Any]:
    """Values of the right kind, and one of a wrong kind: those are all refused alike."""
    kinds = kinds_of(schema)
    right = [value for value in ODD if not kinds or kinds & KINDS[type(value)]]
    wrong = [value for value in ODD if kinds and not kinds & KINDS[type(value)]]
    return [None, *right, *wrong[:1]]


BODIES = [
    (key, examples()[key]["request"])
    for key in sorted(examples())
    if "request" in examples()[key]
    and key.split()[1] in DOCUMENT["paths"]
    and key.split()[1] not in LEFT_OUT
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Of its own: settings are written, models unloaded."""
    home = tmp_path_factory.mktemp("odd-home")
    with LiveServer(home, HF_ENDPOINT="http://127.0.0.1:9") as live:
        live.send("POST", "/v1/models/starter/load")
        yield live


@pytest.mark.parametrize(("key", "example"), BODIES, ids=[key for key, _ in BODIES])
def test_no_value_of_any_field_is_a_fault(
    server: LiveServer, key: str, example: dict[str, Any]
) -> None:
    method, path = key.split()
    properties = schema_of(path, method.lower()).get("properties", {})
    plain = {**example, **{name: SHORT[name] for name in SHORT if name in properties}}
    for name in ("model", "model_id"):
        if name in plain:
            plain[name] = "starter"
    address = path.replace("{name}", "starter").replace("{key}", "request_timeout_minutes")
    known = {int(status) for status in DOCUMENT["paths"][path][method.lower()]["responses"]}
    wrong = []
    for field, schema in properties.items():
        for value in odd_for(schema):
            if field == "keep_alive" and value == 0 and value is not False:
                continue  # unloads the model: seconds for the next request, and tested elsewhere
            answer = server.ask(
                address, method, {**plain, field: value}, {"Content-Type": "application/json"}
            )
            if answer.status not in known or answer.status >= 500:
                wrong.append(f"{field}={value!r:.60}: {answer.status} {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)
