"""What happens when things break: killed workers, vanished clients, over HTTP."""

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live import LiveServer

pytestmark = pytest.mark.model

LONG: dict[str, Any] = {
    "model": "tiny-text",
    "messages": [{"role": "user", "content": "Go on and on"}],
    "max_tokens": 4000,
    "temperature": 1.0,
    "ignore_eos": True,
    "stream": True,
}


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("chaos-home"), text_model) as live:
        yield live


@contextlib.contextmanager
def open_stream(server: LiveServer) -> Iterator[http.client.HTTPResponse]:
    """A stream that has begun to say something. Leaving the block hangs up."""
    with (
        connected(server, LONG) as connection,
        contextlib.closing(connection.getresponse()) as response,
    ):
        assert response.status == 200
        seen = 0
        while seen < 3:
            seen += b'"content"' in response.readline()
        yield response


@contextlib.contextmanager
def connected(server: LiveServer, body: dict[str, Any]) -> Iterator[http.client.HTTPConnection]:
    """A request that was sent. Leaving the block hangs up."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        yield connection


def in_flight(server: LiveServer) -> int:
    loaded = server.get("/v1/manager/status")["loaded_models"]
    return sum(model.get("in_flight", 0) for model in loaded.values())


def until(condition: Any, seconds: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def test_a_killed_worker_ends_the_stream_with_an_error_and_the_next_request_works(
    chaos: LiveServer,
) -> None:
    with open_stream(chaos) as response:
        (worker,) = chaos.workers()
        os.kill(worker.pid, signal.SIGKILL)
        killed = time.monotonic()
        rest = response.read().decode()
        assert time.monotonic() - killed < 2
    events = [line.removeprefix("data: ") for line in rest.splitlines() if line.startswith("data:")]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["error"]["code"] == "worker_died"

    again = time.monotonic()
    status, answer = chaos.send(
        "POST", "/v1/chat/completions", {**LONG, "stream": False, "max_tokens": 5}
    )
    assert status == 200 and answer["usage"]["completion_tokens"] == 5
    assert time.monotonic() - again < 5
    assert chaos.process.poll() is None
    assert [w.pid for w in chaos.workers()] != [worker.pid]


def test_a_client_that_goes_away_frees_its_slot_within_a_second(chaos: LiveServer) -> None:
    with open_stream(chaos):
        assert in_flight(chaos) == 1
    until(lambda: in_flight(chaos) == 0, 1.0)


def test_a_client_that_waits_for_a_plain_answer_and_leaves_frees_its_slot_too(
    chaos: LiveServer,
) -> None:
    with connected(chaos, {**LONG, "stream": False}):
        until(lambda: in_flight(chaos) == 1, 5)
    until(lambda: in_flight(chaos) == 0, 1.0)


def test_a_storm_of_clients_that_vanish_leaves_no_slot_busy(chaos: LiveServer) -> None:
    for _ in range(20):
        with connected(chaos, LONG):
            pass
    until(lambda: in_flight(chaos) == 0, 5)
    (worker,) = chaos.workers()
    status, _ = chaos.send(
        "POST", "/v1/chat/completions", {**LONG, "stream": False, "max_tokens": 5}
    )
    assert status == 200 and worker.is_running()


def test_stopping_the_server_mid_stream_leaves_no_process(tmp_path: Path, text_model: Path) -> None:
    with LiveServer(tmp_path / "home", text_model) as live, open_stream(live):
        family = [psutil.Process(live.process.pid), *live.workers()]
        assert len(family) == 2
        started = time.monotonic()
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(8) == 0
        assert time.monotonic() - started < 5
    assert not psutil.wait_procs(family, timeout=2)[1]


def test_killing_the_server_ends_its_workers(tmp_path: Path, text_model: Path) -> None:
    with LiveServer(tmp_path / "home", text_model) as live:
        with open_stream(live):
            workers = live.workers()
            live.process.kill()
            live.process.wait(5)
        gone, left = psutil.wait_procs(workers, timeout=5)
    assert len(gone) == 1 and not left


def test_a_setting_holds_from_the_moment_it_is_written(chaos: LiveServer) -> None:
    """One place and nobody may wait: the second request is refused, and told when to come back."""
    for key, value in (("max_concurrent_requests", 1), ("max_waiting_requests", 0)):
        assert chaos.send("PUT", f"/v1/settings/{key}", {"value": value})[0] == 200
    with open_stream(chaos):
        answer = chaos.ask("/v1/chat/completions", "POST", {**LONG, "stream": False})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.json()["error"]["code"] == "queue_full"
    for key, value in (("max_concurrent_requests", 5), ("max_waiting_requests", 64)):
        assert chaos.send("PUT", f"/v1/settings/{key}", {"value": value})[0] == 200
