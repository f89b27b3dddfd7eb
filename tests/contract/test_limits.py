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

CHAT = {"model": "starter", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
SHAPES = [
    ("/v1/chat/completions", "openai"),
    ("/chat/completions", "openai"),
    ("/v1/messages", "anthropic"),
    ("/v1/responses", "openai"),
    ("/api/engine/models/load", "detail"),
    ("/v1/cache/warm", "openai"),
]


def check(answer: Answer, status: int, shape: str) -> str:
    """The message, from where this shape has it."""
    assert answer.status == status, answer.body
    body = answer.json()
    if shape == "anthropic":
        assert set(body) == {"type", "error"} and body["type"] == "error"
        return str(body["error"]["message"])
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
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"model": NaN}', "not valid JSON"),
        (b'{"model": Infinity}', "not valid JSON"),
        (b'{"model": "\xff", "model_id": "\xff"}', "not valid JSON"),
        (b'{"model": "\\ud800"}', "not valid JSON"),
        (b'{"model": ', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[1]", "Expected `object`"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 100"),
    ],
)
def test_what_is_not_a_json_object_is_a_400(
    server: LiveServer, path: str, shape: str, body: bytes, says: str
) -> None:
    if body == b"" and path.startswith("/api/engine"):
        says = "model_id"  # an empty body is an empty object there
    assert says in check(post(server, path, body), 400, shape)


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


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_too_many_messages_are_refused(server: LiveServer, path: str) -> None:
    many = {**CHAT, "messages": CHAT["messages"] * 5000}  # type: ignore[operator]
    shape = "anthropic" if "messages" in path else "openai"
    assert "messages" in check(post(server, path, json.dumps(many).encode()), 400, shape)


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
