"""Schemathesis over /openapi.json: requests that fit the document and requests that do not.

Whatever comes back has a status, a content type and a body that the document promises, and nothing
breaks the server. Requests that fit are sent with a real model's name and few tokens, so that they
really run.
"""

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis
import pytest
import requests

from mlxgui.openapi.document import made
from tests.live import LiveServer

pytestmark = pytest.mark.model

EXAMPLES = 4
"""Of each kind for each operation: enough to meet every field now and then, for a few seconds."""
LIMIT_SECONDS = 10.0
ENDS_THE_SERVER = ("/v1/system/shutdown", "/v1/system/restart")
ASKS_THE_HUB = ("/v1/discover/", "/v1/models/install")
NEVER = {500, 502, 504}
DOCUMENT = json.loads(made().body)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if path not in ENDS_THE_SERVER and f"/v1{path}" not in DOCUMENT["paths"]
}


@cache
def operations() -> dict[str, Any]:
    """The same for Schemathesis, which takes seconds to import: not for those who only look."""
    from schemathesis import openapi

    own = json.loads(made().body)  # it writes into what it is given
    found = [one.ok() for one in openapi.from_dict(own).get_all_operations()]
    return {f"{one.method.upper()} {one.path}": one for one in found}


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of its own, since anything may be changed; the hub cannot be reached."""
    home = tmp_path_factory.mktemp("schema-home")
    with LiveServer(home, HF_ENDPOINT="http://127.0.0.1:9", MLX_GUI_HOST="127.0.0.1") as live:
        live.send("POST", "/v1/models/starter/load")
        yield live


def really(body: Any) -> Any:
    """The same body, on a model that is there, and short."""
    if isinstance(body, dict):
        for name in ("model", "model_id"):
            if name in body:
                body[name] = "starter"
        for name in ("max_tokens", "max_output_tokens", "max_completion_tokens"):
            if isinstance(body.get(name), int):
                body[name] = 2
    return body


def can_be_wrong(operation: dict[str, Any]) -> bool:
    """Whether the document forbids anything that can be sent to this operation."""
    places = {one["in"] for one in operation.get("parameters", [])}
    return "requestBody" in operation or bool(places & {"query", "header"})


CASES = [(name, "positive") for name in sorted(OPERATIONS)] + [
    (name, "negative") for name in sorted(OPERATIONS) if can_be_wrong(OPERATIONS[name])
]


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_document_is_true(offline: LiveServer, name: str, mode: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    checked = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    operation = operations()[name]
    session = requests.Session()
    session.trust_env = False

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(GenerationMode(mode)))
    def run(case: Any) -> None:
        if mode == "positive":
            case.body = really(case.body)
        began = time.monotonic()
        response = case.call(base_url=offline.url, session=session, timeout=LIMIT_SECONDS)
        told = f"{name} {case.body!r:.600} → {response.status_code} {response.text:.400}"
        assert response.status_code not in NEVER or name.split()[1].startswith(ASKS_THE_HUB), told
        assert time.monotonic() - began < LIMIT_SECONDS, told
        try:
            case.validate_response(response, checks=checked)
        except Exception as error:
            raise AssertionError(f"{told}\n{error}") from error

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        pytest.skip("nothing that the document forbids can be sent")
    finally:
        session.close()


def test_the_served_document_is_the_one_that_was_tested(offline: LiveServer) -> None:
    assert json.loads(offline.ask("/openapi.json").body) == DOCUMENT
