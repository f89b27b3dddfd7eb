"""Bodies that cannot be served: a clear 4xx in the words of the route that was asked."""

import contextlib
import json
import socket
import time
from http.client import HTTPConnection
from typing import Any

import pytest

from mlxgui.system.uploads import BODY_BYTES
from tests.live import LiveServer
from tests.server import Answer

pytestmark = pytest.mark.server

CHAT = {"model": "starter", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
SHAPES = [
    ("/v1/chat/completions", "openai"),
    ("/chat/completions", "openai"),
    ("/v1/completions", "openai"),
    ("/v1/responses", "openai"),
    ("/v1/responses/input_tokens", "openai"),
    ("/v1/embeddings", "openai"),
    ("/v1/rerank", "openai"),
    ("/v1/tokenize", "openai"),
    ("/v1/audio/speech", "openai"),
    ("/v1/images/generations", "openai"),
    ("/v1/messages", "anthropic"),
    ("/v1/messages/count_tokens", "anthropic"),
    ("/api/chat", "ollama"),
    ("/api/generate", "ollama"),
    ("/api/embed", "ollama"),
    ("/api/show", "ollama"),
    ("/api/engine/chat", "detail"),
    ("/api/engine/predict", "detail"),
    ("/api/engine/models/load", "detail"),
    ("/v1/models/starter/generate", "detail"),
    ("/v1/models/install", "openai"),
    ("/v1/cache/warm", "openai"),
]
BODIES = [
    (b'{"model": NaN}', "not valid JSON"),
    (b'{"model": Infinity}', "not valid JSON"),
    (b'{"model": "\xff", "model_id": "\xff", "prompt": "\xff"}', "not valid JSON"),
    (b'{"model": "\\ud800"}', "not valid JSON"),
    (b'{"model": ', "not valid JSON"),
    (b"", "not valid JSON"),
    (b"[1]", "Expected `object`"),
    (b"null", "Expected `object`"),
    (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 100"),
]
EMPTY_IS_AN_OBJECT = ("/api/engine/models/load", "/v1/models/install")


def check(answer: Answer, status: int, shape: str) -> str:
    """The message, from where this shape has it."""
    assert answer.status == status, answer.body
    body = answer.json()
    if shape == "anthropic":
        assert set(body) == {"type", "error"} and body["type"] == "error"
        return str(body["error"]["message"])
    if shape == "ollama":
        assert set(body) == {"error"}
        return str(body["error"])
    if shape == "openai":
        assert {"message", "type", "param", "code"} <= set(body["error"])
    return str(body["detail"])


def post(
    server: LiveServer, path: str, body: bytes, kind: str = "application/json", **headers: str
) -> Answer:
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    with contextlib.closing(HTTPConnection(host, int(port), timeout=30)) as connection:
        connection.request(
            "POST", path, body, {**({"Content-Type": kind} if kind else {}), **headers}
        )
        got = connection.getresponse()
        return Answer(got.status, got.headers, got.read())


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_what_is_not_a_json_object_is_a_400(server: LiveServer, path: str, shape: str) -> None:
    for body, says in BODIES:
        if body == b"" and path in EMPTY_IS_AN_OBJECT:
            says = "model_id"
        assert says in check(post(server, path, body), 400, shape), body[:20]


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_another_content_type_is_a_415(server: LiveServer, path: str, shape: str) -> None:
    for kind in ("application/xml", "multipart/form-data; boundary=x"):
        message = check(post(server, path, json.dumps(CHAT).encode(), kind), 415, shape)
        assert "application/json" in message


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_another_method_is_a_405_that_names_the_right_one(
    server: LiveServer, path: str, shape: str
) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = server.ask(path, method)
        assert "use POST" in check(answer, 405, shape)
        assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_another_site_is_refused_in_the_same_words(
    server: LiveServer, path: str, shape: str
) -> None:
    answer = post(server, path, b"{}", Origin="https://evil.example")
    assert "another site" in check(answer, 403, shape)


@pytest.mark.model
def test_json_is_read_as_curl_sends_it_and_with_keys_twice(server: LiveServer) -> None:
    body = json.dumps(CHAT).encode()
    for kind in ("application/x-www-form-urlencoded", "", "text/plain"):
        assert post(server, "/v1/chat/completions", body, kind).status == 200
    twice = body.replace(b'"max_tokens": 3', b'"max_tokens": 1, "max_tokens": 2')
    answer = post(server, "/v1/chat/completions", twice)
    assert answer.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/chat/completions", "messages"),
        ("/v1/messages", "messages"),
        ("/v1/responses", "input"),
        ("/api/chat", "messages"),
        ("/api/engine/chat", "messages"),
    ],
)
def test_too_many_messages_are_refused(server: LiveServer, path: str, field: str) -> None:
    many = {"model": "starter", "model_id": "starter", "max_tokens": 3}
    body = json.dumps({**many, field: CHAT["messages"] * 5000}).encode()  # type: ignore[operator]
    assert field in check(post(server, path, body), 400, dict(SHAPES)[path])


def test_anthropics_errors_have_its_own_types(server: LiveServer) -> None:
    def kind(answer: Answer) -> str:
        return str(answer.json()["error"]["type"])

    path = "/v1/messages"
    assert kind(post(server, path, b"{")) == "invalid_request_error"
    assert kind(post(server, path, b"<x/>", "application/xml")) == "invalid_request_error"
    assert kind(server.ask(path)) == "invalid_request_error"
    assert kind(post(server, path, b"{}", Origin="https://evil.example")) == "permission_error"
    nobody = json.dumps({**CHAT, "model": "nobody"}).encode()
    assert kind(post(server, path, nobody)) == "not_found_error"


# -- fields that nobody knows ---------------------------------------------------------------------

IGNORING: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": CHAT,
    "/v1/completions": {"model": "starter", "prompt": "a", "max_tokens": 2},
    "/v1/responses": {"model": "starter", "input": "a", "max_output_tokens": 16},
    "/v1/tokenize": {"model": "starter", "text": "a"},
    "/v1/models/starter/generate": {"prompt": "a", "max_tokens": 2},
    "/v1/cache/warm": {"model": "starter", "messages": CHAT["messages"]},
    "/v1/manager/models/starter/priority": {"priority": 1},
    "/api/chat": {"model": "starter", "messages": CHAT["messages"], "stream": False},
    "/api/generate": {"model": "starter", "prompt": "a", "options": {"num_predict": 2}},
    "/api/show": {"model": "starter"},
    "/api/engine/chat": {"model_id": "starter", "messages": CHAT["messages"], "max_tokens": 2},
    "/api/engine/predict": {"model_id": "starter", "prompt": "a", "max_tokens": 2},
    "/api/engine/models/load": {"model_id": "starter"},
}


@pytest.mark.model
@pytest.mark.parametrize("path", IGNORING)
def test_a_misspelt_field_is_ignored_and_listed(server: LiveServer, path: str) -> None:
    plain = post(server, path, json.dumps(IGNORING[path]).encode())
    assert (plain.status, "unknown" in plain.headers.get("Warnings", "")) == (200, False)
    answer = post(server, path, json.dumps({**IGNORING[path], "temprature": 1}).encode())
    assert (answer.status, answer.headers["Warnings"]) == (200, "unknown parameter: temprature")


@pytest.mark.model
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_fields_name_cannot_break_the_header(server: LiveServer, path: str) -> None:
    odd = {"end\r\nX-Evil: 1": 1, "\0": 1, "é": 1, "z" * 5000: 1}
    answer = post(server, path, json.dumps({**CHAT, **odd}).encode())
    assert answer.status == 200 and "X-Evil" not in answer.headers
    assert "end??X-Evil: 1" in answer.headers["Warnings"]
    assert len(answer.headers["Warnings"]) <= 1000


# -- size -----------------------------------------------------------------------------------------


def connected(server: LiveServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20)


def head(path: str, *lines: str) -> bytes:
    kind = "Content-Type: application/json"
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", kind, *lines, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[str, Any]:
    """The status line and the body, read until the server closes."""
    raw = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(1 << 16):
            raw += more
    top, _, body = raw.partition(b"\r\n\r\n")
    return top.split(b"\r\n")[0].decode(), json.loads(body)


def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_comes(
    server: LiveServer,
) -> None:
    with connected(server) as connection:
        length = f"Content-Length: {BODY_BYTES + 1}"
        connection.sendall(head("/v1/messages", length, "Expect: 100-continue"))
        status, body = answer_of(connection)
    assert status == "HTTP/1.1 413 Content Too Large"
    assert body["error"]["type"] == "request_too_large"
    assert body["type"] == "error" and "bytes at most" in body["error"]["message"]


def test_a_body_without_a_length_is_bounded_while_it_comes(server: LiveServer) -> None:
    before = time.monotonic()
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    with connected(server) as connection:
        connection.sendall(head("/v1/chat/completions", "Transfer-Encoding: chunked"))
        sent = 0
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            for _ in range(4 * BODY_BYTES >> 20):
                connection.sendall(chunk)
                sent += 1 << 20
                if sent > BODY_BYTES:
                    break
        status, body = answer_of(connection)
    assert status == "HTTP/1.1 413 Content Too Large"
    assert body["error"]["code"] == "body_too_large"
    assert time.monotonic() - before < 15
    assert server.get("/health")["status"] == "healthy"


def test_a_small_body_without_a_length_is_read(server: LiveServer) -> None:
    body = json.dumps({"model": "nobody", "messages": CHAT["messages"]}).encode()
    with connected(server) as connection:
        lines = ("Transfer-Encoding: chunked", "Connection: close")
        connection.sendall(head("/v1/chat/completions", *lines))
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        status, _ = answer_of(connection)
    assert status == "HTTP/1.1 404 Not Found"
