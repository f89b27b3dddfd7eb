"""What a body may be, before anything is read of it."""

import json

import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.wire.errors import Refused
from mlxgui.wire.limits import MAX_DEPTH, check_depth, check_type

JSON = b'{"a": 1}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/vnd.api+json", JSON),
        ("", JSON),
        ("text/plain;charset=UTF-8", JSON),
        ("application/x-www-form-urlencoded", b'\n {"a": 1}'),
        ("application/xml", b""),
    ],
)
def test_what_may_be_json_is_let_through(content_type: str, body: bytes) -> None:
    check_type(content_type, body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/xml", JSON),
        ("multipart/form-data; boundary=x", JSON),
        ("application/x-www-form-urlencoded", b"model=starter"),
        ("application/octet-stream", JSON),
    ],
)
def test_another_content_type_is_refused_and_named(content_type: str, body: bytes) -> None:
    with pytest.raises(Refused, match=content_type.partition(";")[0]) as caught:
        check_type(content_type, body)
    assert caught.value.status == 415


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH),
        json.dumps({"text": "[" * 500}).encode(),
        json.dumps({"text": '\\"[{' * 200 + "\n" * 3, "more": ['"'] * 150}).encode(),
        json.dumps([[i] for i in range(500)]).encode(),
    ],
)
def test_brackets_in_texts_and_side_by_side_are_no_depth(body: bytes) -> None:
    check_depth(body)


@pytest.mark.parametrize(
    "body", [nested(MAX_DEPTH + 1), b'{"a":' * 200, nested(1_000_000), b'["\\\\",' * 150]
)
def test_what_is_nested_too_deeply_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="nested more than 100"):
        check_depth(body)
