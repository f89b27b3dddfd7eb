"""Downloads: the real body in a real process, by the real huggingface_hub, from a local hub."""

import contextlib
import errno
import os
import random
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.jobs import JobFailed
from mlxgui.engine.jobs.download import Download, run
from mlxgui.engine.jobs.folder import JobFolder
from mlxgui.engine.jobs.hub_errors import explain
from tests.hub import COMMIT, Hub
from tests.jobs.test_children import ended, until

pytestmark = pytest.mark.server

NAME = "author/model-4bit"
MIB = 1 << 20
WEIGHTS = "model.safetensors"


def repository(weights_bytes: int = 3 * MIB) -> dict[str, bytes]:
    data = random.Random(7)
    return {
        "config.json": b'{"model_type": "qwen3"}',
        "tokenizer.json": b"{}" * 10,
        "README.md": b"# A model",
        WEIGHTS: data.randbytes(weights_bytes),
        "sub/part.safetensors": data.randbytes(20_000),
        "modeling.py": b"print('never fetched')",
        "pytorch_model.bin": b"never fetched",
        ".gitattributes": b"",
    }


WANTED = {"config.json", "tokenizer.json", "README.md", WEIGHTS, "sub/part.safetensors"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        made.add(NAME, repository())
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[JobFolder]:
    made = JobFolder(tmp_path / "job")
    yield made
    made.signal(signal.SIGKILL)


def start(hub: Hub, folder: JobFolder, cache: Path, **knobs: Any) -> None:
    environment = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": knobs.pop("token", ""), "HF_HUB_OFFLINE": "",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": str(knobs.pop("stall_seconds", 10)),
    }  # fmt: skip
    job = {
        "kind": "download", "repository": NAME, "cache": str(cache), "reserve_bytes": 0,
        "report_seconds": 0.02, "tries": 2, **knobs,
    }  # fmt: skip
    folder.start(job, environment)


def whole(cache: Path, hub: Hub) -> bool:
    """Every wanted file is there byte for byte, and nothing else."""
    snapshot = cache / "models--author--model-4bit" / "snapshots" / COMMIT
    files = hub.repositories[NAME].files
    found = {str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if not p.is_dir()}
    return found == WANTED and all((snapshot / n).read_bytes() == files[n] for n in WANTED)


def unfinished(cache: Path) -> int:
    folder = cache / "models--author--model-4bit" / "unfinished"
    size = 0
    for file in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # it has become whole meanwhile
            size += file.stat().st_size
    return size


def test_a_repository_arrives_whole_where_every_library_looks(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    start(hub, folder, cache)
    outcome = ended(folder)
    assert (outcome["status"], outcome["commit"]) == ("succeeded", COMMIT), folder.log_tail()
    assert whole(cache, hub)
    from huggingface_hub import scan_cache_dir, snapshot_download

    found = scan_cache_dir(cache)
    assert [(one.repo_id, list(one.refs)) for one in found.repos] == [(NAME, ["main"])]
    assert found.warnings == []
    assert snapshot_download(NAME, cache_dir=cache, local_files_only=True) == outcome["path"]


def test_progress_is_in_real_bytes(hub: Hub, folder: JobFolder, cache: Path) -> None:
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    total = sum(len(hub.repositories[NAME].files[name]) for name in WANTED)
    line = folder.last_progress()
    assert (line["done_bytes"], line["total_bytes"], line["progress"]) == (total, total, 1.0)
    assert (line["files_done"], line["files_total"]) == (5, 5)


def test_nothing_is_visible_before_all_is_there(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.knobs.hold[WEIGHTS] = MIB
    start(hub, folder, cache)
    assert hub.held.wait(20)
    home = cache / "models--author--model-4bit"
    assert [path.name for path in home.iterdir()] == ["unfinished"]
    under_way = until(lambda: folder.last_progress().get("files"))
    assert under_way[0][0] == WEIGHTS and under_way[0][2] == 3 * MIB
    hub.go.set()
    assert ended(folder)["status"] == "succeeded"
    assert not (home / "unfinished").exists()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_byte_it_goes_on_from_there(
    hub: Hub, folder: JobFolder, cache: Path, seed: int
) -> None:
    at = random.Random(seed).randrange(MIB // 2, 2 * MIB)
    hub.knobs.hold[WEIGHTS] = at
    start(hub, folder, cache)
    assert hub.held.wait(20)
    until(lambda: unfinished(cache) > at - MIB // 2)
    os.kill(folder.pid, signal.SIGKILL)
    assert ended(folder) == {}
    had = unfinished(cache)
    assert had > 0
    hub.go.set()
    before = hub.served[WEIGHTS]
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)
    assert hub.served[WEIGHTS] - before <= 3 * MIB - had + 200_000


def test_stopped_it_keeps_what_it_has_and_goes_on(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.knobs.hold[WEIGHTS] = MIB
    start(hub, folder, cache)
    until(lambda: unfinished(cache) > MIB // 2)
    folder.signal(signal.SIGTERM)
    assert ended(folder) == {"status": "stopped"}
    assert unfinished(cache) > MIB // 2
    hub.go.set()
    before = hub.served[WEIGHTS]
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)
    assert hub.served[WEIGHTS] - before < 3 * MIB - MIB // 2 + 200_000


def test_an_answer_that_breaks_off_is_continued(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.knobs.cut[WEIGHTS] = [MIB]
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)
    assert hub.served[WEIGHTS] < 3 * MIB + 300_000


def test_a_network_that_goes_and_comes_back_needs_nobody(folder: JobFolder, cache: Path) -> None:
    with Hub() as gone:
        gone.add(NAME, repository())
        gone.knobs.hold[WEIGHTS], gone.knobs.cut[WEIGHTS] = MIB, [2 * MIB]
        start(gone, folder, cache, tries=20)
        assert gone.held.wait(20)
    with socket.socket() as nobody:  # holds the port, so that no other server is given it
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", gone.port))
        until(lambda: "Connection refused" in folder.log_tail())
    back = Hub(gone.port)
    back.add(NAME, repository())  # before it answers: what it does not have is no longer asked for
    with back:
        assert ended(folder)["status"] == "succeeded"
        assert whole(cache, back)
        assert back.served[WEIGHTS] <= 2 * MIB  # the rest, not all of it


def test_after_sleep_it_goes_on_though_the_connection_is_gone(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    hub.knobs.hold[WEIGHTS], hub.knobs.cut[WEIGHTS] = MIB, [2 * MIB]
    start(hub, folder, cache)
    assert hub.held.wait(20)
    others = {name: len(data) for name, data in repository().items() if name in WANTED - {WEIGHTS}}
    until(lambda: all(hub.served[name] >= size for name, size in others.items()))
    folder.signal(signal.SIGSTOP)
    asked = len(hub.asked)
    hub.go.set()
    until(lambda: hub.served[WEIGHTS] >= 2 * MIB - 200_000)
    assert len(hub.asked) == asked
    folder.signal(signal.SIGCONT)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)
    assert hub.served[WEIGHTS] < 3 * MIB + 300_000


def test_a_stall_is_noticed_and_the_file_asked_for_again(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    hub.knobs.hold[WEIGHTS] = MIB
    start(hub, folder, cache, stall_seconds=1)
    assert hub.held.wait(20)
    asked = len(hub.asked)
    until(lambda: len(hub.asked) > asked)
    hub.go.set()
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)


def test_wrong_bytes_are_thrown_away_and_fetched_again(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    hub.knobs.wrong[WEIGHTS] = 1
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)


def test_wrong_bytes_twice_are_a_failure_that_says_so(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    hub.knobs.wrong[WEIGHTS] = 9
    start(hub, folder, cache)
    assert "arrived damaged twice" in ended(folder)["error"]


def test_the_commit_is_pinned_while_it_lasts(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.knobs.hold[WEIGHTS] = MIB
    start(hub, folder, cache)
    assert hub.held.wait(20)
    folder.signal(signal.SIGTERM)
    ended(folder)
    hub.go.set()
    hub.asked.clear()
    start(hub, folder, cache)
    assert ended(folder)["commit"] == COMMIT
    assert [one for one in hub.asked if "/resolve/" not in one and "/large/" not in one] == []
    assert [one for one in hub.asked if "/resolve/" in one and COMMIT not in one] == []


def test_a_commit_that_is_gone_is_looked_up_anew_by_the_next_try(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    hub.knobs.hold[WEIGHTS] = MIB
    start(hub, folder, cache)
    assert hub.held.wait(20)
    until(lambda: unfinished(cache) > MIB // 2)
    folder.signal(signal.SIGTERM)
    ended(folder)
    hub.go.set()
    hub.repositories[NAME].commit = newer = "beef" + "0" * 36
    start(hub, folder, cache)
    assert "no such revision" in ended(folder)["error"]
    begun = hub.served[WEIGHTS]
    start(hub, folder, cache)
    outcome = ended(folder)
    assert (outcome["status"], outcome["commit"]) == ("succeeded", newer)
    assert hub.served[WEIGHTS] - begun < 3 * MIB - MIB // 2  # what had arrived is the same in both


def test_bytes_that_are_thrown_away_are_no_speed_below_zero(folder: JobFolder, cache: Path) -> None:
    job = {"repository": NAME, "cache": str(cache)}
    download = Download(job, folder, threading.Event())
    assert [download._speed(count) for count in (100, 50)] == [0.0, 0.0]


def test_what_the_cache_has_is_not_fetched_but_what_is_damaged_there_is(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    start(hub, folder, cache)
    ended(folder)
    hub.served.clear()
    blobs = cache / "models--author--model-4bit" / "blobs"
    damaged = max(blobs.iterdir(), key=lambda blob: blob.stat().st_size)
    damaged.write_bytes(bytes(damaged.stat().st_size))
    start(hub, folder, cache)
    assert ended(folder)["status"] == "succeeded"
    assert whole(cache, hub)
    assert set(hub.served) == {WEIGHTS}


def test_too_little_room_is_said_before_a_byte_comes(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    start(hub, folder, cache, reserve_bytes=1 << 60)
    assert ended(folder)["error"].startswith("There is not enough room on the disk")
    assert hub.served[WEIGHTS] == 0


def test_gated_without_and_with_a_token(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.repositories[NAME].gated = True
    hub.knobs.token = "hf_right"
    start(hub, folder, cache)
    assert "is gated" in ended(folder)["error"]
    start(hub, folder, cache, token="hf_wrong")
    assert f"Open huggingface.co/{NAME}" in ended(folder)["error"]
    start(hub, folder, cache, token="hf_right")
    assert ended(folder)["status"] == "succeeded"


def test_a_repository_that_is_not_there(hub: Hub, folder: JobFolder, cache: Path) -> None:
    start(hub, folder, cache, repository="author/none")
    assert "“author/none” is not on the hub, or it is private" in ended(folder)["error"]


def test_a_repository_without_safetensors(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.add("author/old", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    start(hub, folder, cache, repository="author/old")
    assert "no safetensors weights in “author/old”" in ended(folder)["error"]


def test_a_limit_is_waited_out(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.knobs.status["/api/models"] = (429, {"Retry-After": "1"})
    start(hub, folder, cache)
    until(lambda: "limits how often" in folder.last_progress().get("note", ""))
    hub.knobs.status.clear()
    assert ended(folder)["status"] == "succeeded"


def test_no_network_is_a_failure_that_says_what_to_do(
    hub: Hub, folder: JobFolder, cache: Path
) -> None:
    nowhere = Hub()
    nowhere.url = "http://127.0.0.1:9"
    start(nowhere, folder, cache, tries=1)
    assert "The hub cannot be reached" in ended(folder)["error"]
    nowhere._server.server_close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left"), "disk"),
        (ConnectionResetError("reset"), "offline"),
        (TimeoutError(), "offline"),
        (KeyError("x"), "unknown"),
    ],
)
def test_every_error_gets_words(error: Exception, code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert explain(error).code == code


def test_names_that_lead_outside_are_refused(hub: Hub, folder: JobFolder, cache: Path) -> None:
    hub.repositories[NAME].files["../../evil.json"] = b"{}"
    hub.repositories[NAME].files["/evil.json"] = b"{}"
    start(hub, folder, cache)
    assert "cannot be right" in ended(folder)["error"]


def test_a_disk_that_fills_up_meanwhile_ends_it_in_time(
    hub: Hub, folder: JobFolder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that the disk can be told what to say."""
    import shutil
    from collections import namedtuple

    from huggingface_hub import close_session, constants

    usage = namedtuple("usage", "total used free")
    answers = iter([100 * MIB] * 3)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, next(answers, 5)))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    hub.knobs.hold[WEIGHTS] = MIB
    folder.path.mkdir()
    job = {"repository": NAME, "cache": str(cache), "reserve_bytes": 10, "report_seconds": 0.02}
    with pytest.raises(JobFailed, match="not enough room"):
        run(job, folder, threading.Event())
    assert folder.last_progress()["total_bytes"] > 0
    hub.go.set()
    close_session()
