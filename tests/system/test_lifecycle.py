"""Shutting down and starting anew over the API, with a real server process."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from django.test import AsyncClient

from tests.server import ROOT, ServerProcess, outside

pytestmark = pytest.mark.server

STOP_SECONDS = 5.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def put(server: ServerProcess, key: str, value: object) -> None:
    answer = server.ask(f"/v1/settings/{key}", "PUT", {"value": value})
    assert answer.status == 200, answer.body


def test_shutdown_answers_as_documented_and_ends_the_process(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        started = time.monotonic()
        answer = server.ask("/v1/system/shutdown", "POST")
        assert (answer.status, answer.json()) == (200, {"message": "Server shutting down"})
        assert server.wait_exit() == (0, "")
    assert time.monotonic() - started < STOP_SECONDS + 1


def test_restart_comes_back_in_the_same_process_on_the_new_port(tmp_path: Path) -> None:
    first, second, third = free_port(), free_port(), free_port()
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        put(server, "server_port", first)
    with ServerProcess(tmp_path, MLX_GUI_PORT="") as server:
        assert server.wait_ready() == f"http://127.0.0.1:{first}"
        pid = server.process.pid
        put(server, "server_port", second)
        answer = server.ask("/v1/system/restart", "POST").json()
        assert answer["message"] == "Server restarting with updated settings"
        assert answer["url"] == f"http://127.0.0.1:{second}/"
        assert server.wait_ready() == f"http://127.0.0.1:{second}"
        assert server.process.pid == pid
        assert server.ask("/health").json()["status"] == "healthy"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", third))
            taken.listen()
            put(server, "server_port", third)
            refused = server.ask("/v1/system/restart", "POST")
        assert refused.status == 409
        assert f"Port {third} is in use" in refused.json()["detail"]
        assert server.ask("/health").status == 200


@pytest.mark.model
def test_restart_keeps_a_free_port_and_ends_the_workers_but_not_the_jobs(tmp_path: Path) -> None:
    hello = {"model": "starter", "messages": [{"role": "user", "content": "Hello"}]}
    with ServerProcess(tmp_path) as server:
        url = server.wait_ready()
        assert server.ask("/v1/chat/completions", "POST", hello).status == 200
        workers = psutil.Process(server.process.pid).children(recursive=True)
        job = start_job(tmp_path)
        assert server.ask("/v1/system/restart", "POST").status == 200
        assert server.wait_ready() == url
        assert [worker for worker in workers if worker.is_running()] == []
        assert psutil.Process(job).is_running()
        assert server.ask("/health").json()["loaded_model"] is None
        psutil.Process(job).kill()


def start_job(home: Path) -> int:
    """A job of the fake kind in a folder of its own; its process id."""
    start = (
        "import sys; from pathlib import Path; from mlxgui.engine.jobs.folder import JobFolder;"
        "print(JobFolder(Path(sys.argv[1])).start({'kind': 'fake', 'until': '/never'}, {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, str(home / "jobs" / "fake-1")],
        cwd=ROOT, env=outside(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_another_site_and_a_caller_without_the_key_are_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, MLX_GUI_API_KEY="sesame") as server:
        server.wait_ready()
        elsewhere = {"Origin": "http://evil.example", "Authorization": "Bearer sesame"}
        for path in ("/v1/system/shutdown", "/v1/system/restart"):
            assert server.ask(path, "POST").status == 401
            assert server.ask(path, "POST", headers=elsewhere).status == 403
            assert server.ask(path, headers={"Authorization": "Bearer sesame"}).status == 405
        assert server.ask("/health").status == 200


@pytest.mark.parametrize("path", ["/v1/system/shutdown", "/v1/system/restart"])
@pytest.mark.django_db(transaction=True)
async def test_a_server_that_serve_did_not_start_says_so(
    async_client: AsyncClient, path: str
) -> None:
    answer = await async_client.post(path)
    assert answer.status_code == 409
    assert "manage.py serve" in answer.json()["detail"]
