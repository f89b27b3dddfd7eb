"""How the server ends while requests run: a real process around a small application."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.server import ROOT

pytestmark = pytest.mark.server

PROGRAM = """
import asyncio, sys
import pytest

from mlxgui.system.web_server import WebServer

async def application(scope, receive, send):
    await receive()
    print("asked", flush=True)
    await asyncio.sleep(float(sys.argv[1]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})

async def opened():
    child = await asyncio.create_subprocess_exec("true")
    print("child", await child.wait(), flush=True)

async def closed():
    print("closed", flush=True)

WebServer(
    application,
    "127.0.0.1",
    0,
    on_ready=lambda port: print(port, flush=True),
    opened=opened,
    closed=closed,
).run()
"""


@contextlib.contextmanager
def asked(seconds: float) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A server in the middle of a request that takes this long."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert process.stdout.readline() == "child 0\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert process.stdout.readline() == "asked\n"
            yield process, client
        process.kill()


def everything(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(4096), b""))


def test_a_request_that_is_nearly_done_is_answered_first() -> None:
    with asked(0.5) as (process, client):
        process.terminate()
        assert b"answered" in everything(client)
        assert process.wait(5) == 0


def test_a_request_that_hangs_does_not_hold_it() -> None:
    with asked(60) as (process, client):
        started = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert process.stdout is not None
        assert process.stdout.read() == "closed\n"


def test_a_second_ctrl_c_does_not_wait() -> None:
    with asked(60) as (process, client):
        process.send_signal(signal.SIGINT)
        refuse_until_closed(client.getpeername())
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - started < 1


def refuse_until_closed(address: tuple[str, int]) -> None:
    """Wait for the first signal's effect: nobody listens any more."""
    for _ in range(1000):
        try:
            socket.create_connection(address, timeout=0.2).close()
        except (ConnectionRefusedError, TimeoutError):
            return
    raise AssertionError("It still listens.")
