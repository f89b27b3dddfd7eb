"""Images by address: a real server on this machine, with a seam for what counts as public."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import GenerationRequest, ImagePart, Message, TextPart
from mlxgui.system import addresses
from mlxgui.system.fetch import Limits, fetch, fetch_images
from mlxgui.system.models import Setting
from tests.tiny_vision import picture

PNG = picture(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    release = threading.Event()

    def end_headers(self) -> None:
        self.close_connection = True
        super().end_headers()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name, _, rest = self.path.strip("/").partition("/")
        getattr(self, f"answer_{name}")(rest)

    def answer_png(self, rest: str) -> None:
        self._send(200, PNG, {"Content-Length": str(len(PNG))})

    def answer_chunked(self, rest: str) -> None:
        pieces = [PNG[i : i + 100] for i in range(0, len(PNG), 100)]
        body = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n\r\n"
        self._send(200, body, {"Transfer-Encoding": "chunked"})

    def answer_to(self, rest: str) -> None:
        self._send(302, b"", {"Location": rest, "Content-Length": "0"})

    def answer_round(self, rest: str) -> None:
        self._send(307, b"", {"Location": f"/round/{int(rest) + 1}", "Content-Length": "0"})

    def answer_status(self, rest: str) -> None:
        self._send(int(rest), b"no", {"Content-Length": "2"})

    def answer_html(self, rest: str) -> None:
        self._send(200, b"<html></html>", {"Content-Type": "image/png", "Content-Length": "13"})

    def answer_large(self, rest: str) -> None:
        self._send(200, PNG + bytes(200_000), {})

    def answer_slow(self, rest: str) -> None:
        """Never silent for long, and never done."""
        self._send(200, PNG[:10], {"Content-Length": str(len(PNG))})
        with contextlib.suppress(OSError):
            for i in range(10, 210):
                self.release.wait(0.02)
                self.wfile.write(PNG[i : i + 1])

    def answer_cut(self, rest: str) -> None:
        self._send(200, PNG[:10], {"Content-Length": str(len(PNG))})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(OSError):  # the client may have seen enough
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    Handler.release.clear()
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


OPEN = Limits(is_public=lambda address: address == "127.0.0.1")
"""As if this machine's first address lay in the open Internet, and no other."""


async def refused(address: str, limits: Limits = OPEN) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        await fetch(address, "messages[0].content", limits)
    assert caught.value.param == "messages[0].content"
    return caught.value


@pytest.mark.parametrize("path", ["/png", "/chunked", "/to//png", "/to//to//png"])
async def test_an_image_comes_over_a_few_hops(url: str, path: str) -> None:
    assert await fetch(url + path, "x", OPEN) == PNG
    assert await fetch(f"{url}/to/{url}{path}", "x", OPEN) == PNG


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/status/404", "answered 404"),
        ("/status/206", "answered 206"),
        ("/html", "HTML"),
        ("/round/0", "more than 3 times"),
        ("/to/file:///etc/passwd", "http and https"),
        ("/to/ftp://127.0.0.1/x", "http and https"),
        ("/cut", "could not be fetched"),
    ],
)
async def test_what_is_no_image_is_refused(url: str, path: str, words: str) -> None:
    assert words in (await refused(url + path)).message


async def test_a_redirect_is_checked_like_the_first_address(url: str) -> None:
    Handler.asked.clear()
    port = url.rpartition(":")[2]
    hosts = ["127.0.0.2", "localhost.", "[::1]", "10.0.0.1", "169.254.169.254", "0x7f000002"]
    for host in hosts:
        error = await refused(f"{url}/to/http://{host}:{port}/png", OPEN)
        assert "no public address" in error.message or "no host" in error.message
    assert all(path.startswith("/to/") for path in Handler.asked)


async def test_a_large_image_is_cut_off(url: str) -> None:
    error = await refused(f"{url}/large", Limits(is_public=OPEN.is_public, size_bytes=100_000))
    assert "more than" in error.message


async def test_a_slow_image_is_given_up(url: str) -> None:
    error = await refused(f"{url}/slow", Limits(is_public=OPEN.is_public, seconds=0.2))
    assert "within 0.2 seconds" in error.message


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0.0.0.0",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "240.0.0.1", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[ff02::1]", "[fec0::1]",
        "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "[::127.0.0.1]", "[2001:0:7f00:1::]",
    ],
)  # fmt: skip
async def test_addresses_of_this_network_are_never_fetched_from(host: str) -> None:
    error = await refused(f"http://{host}:9/x.png", Limits())
    assert "no public address" in error.message or "no host" in error.message


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    "address", ["http://user:pass@example.com/x.png", "http://[bad/x.png", "http:///x.png"]
)
async def test_odd_addresses_are_refused(address: str) -> None:
    await refused(address)


def asked(*urls: str) -> GenerationRequest:
    parts = [TextPart("What?"), *(ImagePart(url=url) for url in urls)]
    return GenerationRequest(messages=[Message("system", "Hi"), Message("user", parts)])


@pytest.mark.django_db(transaction=True)
async def test_nothing_is_fetched_unless_the_setting_allows_it(url: str) -> None:
    Handler.asked.clear()
    request = asked(f"{url}/png")
    with pytest.raises(BadRequest, match="allow_remote_images") as caught:
        await fetch_images(request, OPEN)
    assert caught.value.param == "messages[1].content"
    assert Handler.asked == []
    await Setting.objects.awrite("allow_remote_images", True)
    fetched = await fetch_images(request, OPEN)
    assert fetched.messages[1].content == [TextPart("What?"), ImagePart(PNG)]
    with pytest.raises(BadRequest, match="no public address"):
        await fetch_images(request)


@pytest.mark.django_db(transaction=True)
async def test_one_address_is_fetched_once_and_one_failure_ends_all(url: str) -> None:
    await Setting.objects.awrite("allow_remote_images", True)
    Handler.asked.clear()
    await fetch_images(asked(f"{url}/png", f"{url}/png"), OPEN)
    assert Handler.asked == ["/png"]
    with pytest.raises(BadRequest, match="answered 404"):
        await asyncio.wait_for(fetch_images(asked(f"{url}/slow", f"{url}/status/404"), OPEN), 3)
    with pytest.raises(BadRequest, match="At most 16"):
        await fetch_images(asked(*(f"{url}/png/{i}" for i in range(17))), OPEN)


async def test_a_request_without_addresses_passes_untouched() -> None:
    request = GenerationRequest(messages=[Message("user", [TextPart("a"), ImagePart(PNG)])])
    assert await fetch_images(request) is request
