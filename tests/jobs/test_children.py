"""Job folders and their real child processes, without Django rows."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.jobs.folder import JobFolder


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)
    return found


def ended(folder: JobFolder) -> dict[str, Any]:
    until(lambda: not folder.is_alive())
    return folder.outcome()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path / "job")


def test_a_child_counts_reports_and_ends_with_an_outcome(folder: JobFolder) -> None:
    pid = folder.start({"kind": "fake", "count": 4}, {})
    assert ended(folder) == {"status": "succeeded", "counted": 4, "first": 0}
    assert folder.last_progress()["number"] == 4
    assert folder.last_progress()["progress"] == 1.0
    os.waitpid(pid, 0)


def test_a_child_is_alive_from_the_first_instant(folder: JobFolder, tmp_path: Path) -> None:
    pid = folder.start({"kind": "fake", "until": str(tmp_path / "go")}, {})
    assert folder.is_alive()
    assert folder.pid == pid
    with pytest.raises(BlockingIOError):
        folder.start({"kind": "fake"}, {})
    (tmp_path / "go").touch()
    assert ended(folder)["status"] == "succeeded"


def test_sigterm_stops_it_cleanly(folder: JobFolder, tmp_path: Path) -> None:
    folder.start({"kind": "fake", "until": str(tmp_path / "never")}, {})
    until(folder.last_progress)
    folder.signal(signal.SIGTERM)
    assert ended(folder) == {"status": "stopped"}


def test_a_failure_is_said_in_the_outcome(folder: JobFolder) -> None:
    folder.start({"kind": "fake", "fail_at": 2}, {})
    assert ended(folder) == {"status": "failed", "error": "It was told to fail at 2."}


def test_a_fault_of_the_body_is_named_and_logged(folder: JobFolder) -> None:
    folder.start({"kind": "fake", "count": "many"}, {})
    assert ended(folder)["error"].startswith("ValueError: ")
    assert "Traceback" in folder.log_tail()


def test_a_killed_child_leaves_no_outcome_and_goes_on_from_its_state(folder: JobFolder) -> None:
    folder.start({"kind": "fake", "count": 5, "crash_at": 3}, {})
    assert ended(folder) == {}
    folder.start({"kind": "fake", "count": 5}, {})
    assert ended(folder) == {"status": "succeeded", "counted": 5, "first": 2}


def test_half_a_line_of_progress_is_not_read(folder: JobFolder) -> None:
    folder.path.mkdir()
    (folder.path / "progress.jsonl").write_text('{"progress": 0.5}\n{"progr')
    assert folder.last_progress() == {"progress": 0.5}


def test_a_folder_without_a_child_is_not_alive(folder: JobFolder) -> None:
    assert not folder.is_alive()
    assert (folder.outcome(), folder.last_progress(), folder.pid) == ({}, {}, 0)
    folder.signal(signal.SIGTERM)
