"""Downloads and the end of servers: a real server, real children, a local hub."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.jobs.folder import JobFolder
from tests.hub import Hub
from tests.jobs.test_children import until
from tests.live import LiveServer
from tests.models_app.test_downloads import NAME, repository

pytestmark = pytest.mark.server

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        made.add(NAME, repository())
        made.knobs.hold[WEIGHTS] = 300_000
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    for folder in jobs(tmp_path / "home"):
        folder.signal(signal.SIGKILL)


def jobs(home: Path) -> list[JobFolder]:
    return [JobFolder(path) for path in sorted((home / "jobs").glob("download-*"))]


def server(home: Path, hub: Hub) -> LiveServer:
    cache = home.parent / "cache"
    return LiveServer(home, HF_ENDPOINT=hub.url, HF_HUB_CACHE=str(cache), HF_TOKEN="")


def begin(live: LiveServer, hub: Hub, home: Path) -> JobFolder:
    status, body = live.send("POST", "/v1/models/install", {"model_id": NAME, "name": "tiny"})
    assert (status, body["status"]) == (202, "downloading")
    assert hub.held.wait(20)
    return jobs(home)[0]


def status_of(live: LiveServer) -> dict[str, Any]:
    found = live.get("/v1/manager/models/tiny/status")
    assert isinstance(found, dict)
    return found


def arrived(live: LiveServer) -> bool:
    return [one["id"] for one in live.get("/v1/models")["data"] if one["id"] == "tiny"] != []


def test_it_outlives_its_server_and_goes_on_after_a_crash_of_everything(
    hub: Hub, home: Path
) -> None:
    with server(home, hub) as live:
        job = begin(live, hub, home)
        until(lambda: status_of(live)["download_progress"] > 50)
        asked, pid = len(hub.asked), job.pid
    assert job.is_alive()  # the server ended, the download did not
    with server(home, hub) as live:
        assert (status_of(live)["status"], job.pid) == ("downloading", pid)
        assert len(hub.asked) == asked
        os.kill(live.process.pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not job.is_alive())
        live.process.wait()
    hub.go.set()
    before = hub.served[WEIGHTS]
    with server(home, hub) as live:
        until(lambda: arrived(live))
        found = live.get("/v1/models/author/tiny-4bit")
        assert (found["name"], found["error_message"]) == ("tiny", None)
    assert hub.served[WEIGHTS] - before < len(repository()[WEIGHTS]) - 150_000
