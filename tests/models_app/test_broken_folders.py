"""Every broken folder through scan, register and load of a live server, which stays up."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveServer
from tests.models_app.broken import CASES, a_last_row_of_nan, make_broken, rewrite

pytestmark = pytest.mark.model


class Server(LiveServer):
    marker: Path
    elsewhere: Path

    def details(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/models/{name}")
        return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("broken")
    marker, elsewhere = root / "code-ran", root / "elsewhere"
    make_broken(root / "home" / "models", elsewhere, marker)
    with Server(root / "home") as server:
        server.marker, server.elsewhere = marker, elsewhere
        yield server
    assert not marker.exists()


@pytest.mark.parametrize("name", CASES)
def test_a_scan_lists_it_with_its_reason_and_a_way_out(live: Server, name: str) -> None:
    shape = live.details(name)
    assert (shape["status"], CASES[name][1] in shape["error_message"]) == ("failed", True), shape
    assert "the secret" not in shape["error_message"]
    assert shape["error_message"].count(".") >= 2  # what is wrong, and what to do


@pytest.mark.parametrize("name", CASES)
def test_it_is_never_loaded(live: Server, name: str) -> None:
    for path, body in (
        (f"/v1/models/{name}/load", None),
        ("/api/engine/models/load", {"model_id": name}),
        ("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "Hi"}]}),
    ):
        status, answer = live.send("POST", path, body)
        assert status in (500, 503), (path, status, answer)
        assert CASES[name][1] in str(answer)
    assert live.get("/health")["status"] == "healthy"
    assert not live.marker.exists()


WITHOUT_CONFIG = ("missing-config", "empty-folder")


@pytest.mark.parametrize("name", [name for name in CASES if name != "symlink-folder"])
def test_registered_from_elsewhere_it_is_as_broken(live: Server, name: str) -> None:
    root = live.elsewhere.parent
    folder = root / "registered" / name
    shutil.copytree(root / "home" / "models" / name, folder, symlinks=True)
    body = {"name": f"own-{name}", "path": str(folder)}
    status, answer = live.send("POST", "/api/engine/models/register", body)
    if name in WITHOUT_CONFIG:
        assert (status, "There is no model in" in answer["detail"]) == (400, True)
        return
    reason = CASES[name][1]
    assert (status, reason in answer[0]["format_warning"]) == (200, True), answer
    status, answer = live.send("POST", f"/v1/models/own-{name}/load")
    assert (status, reason in answer["detail"]) == (500, True), answer
    assert not live.marker.exists()


def test_none_of_them_has_started_a_process(live: Server) -> None:
    assert live.workers() == []
    names = [one["id"] for one in live.get("/v1/models")["data"]]
    assert names == ["starter"]


def test_what_only_loading_shows_is_kept_until_the_folder_changes(live: Server) -> None:
    folder = live.elsewhere.parent / "deep"
    shutil.copytree(live.elsewhere, folder, ignore=shutil.ignore_patterns("secret.txt"))
    sound = (folder / "model.safetensors").read_bytes()
    rewrite(folder, a_last_row_of_nan)
    live.send("POST", "/api/engine/models/register", {"name": "deep", "path": str(folder)})
    assert live.details("deep")["error_message"] is None
    assert live.send("POST", "/v1/models/deep/load")[0] == 500
    until(lambda: "(NaN)" in str(live.details("deep")["error_message"]))
    live.send("POST", "/api/engine/models/verify", {})
    status, answer = live.send("POST", "/v1/models/deep/load")
    assert (status, "cannot be loaded" in answer["detail"]) == (500, True)
    (folder / "model.safetensors").write_bytes(sound)
    live.send("POST", "/api/engine/models/verify", {})
    assert live.send("POST", "/v1/models/deep/load")[0] == 200
    live.send("POST", "/v1/models/deep/unload")


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_sound_model_still_answers_beside_them(live: Server) -> None:
    body = {"name": "sound", "path": str(live.elsewhere)}
    (live.elsewhere / "secret.txt").unlink()
    assert live.send("POST", "/api/engine/models/register", body)[0] == 200
    ask = {"model": "sound", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    assert live.send("POST", "/v1/chat/completions", ask)[0] == 200
    assert not live.marker.exists()
