"""The life of a job's row, one tick at a time, with real children that count."""

import os
from pathlib import Path

import psutil
import pytest

from mlxgui.jobs.models import Status
from mlxgui.jobs.runner import JobRunner, job_classes
from mlxgui.system.models import Setting
from models_app.models import Download
from tests.jobs.conftest import Make
from tests.jobs.test_children import until

pytestmark = pytest.mark.django_db


def status_of(job: Download) -> str:
    job.refresh_from_db()
    return str(job.status)


def dead(job: Download) -> None:
    until(lambda: not job.folder.is_alive())


def until_status(runner: JobRunner, job: Download, status: Status) -> None:
    def reached() -> bool:
        runner.tick()
        return status_of(job) == status

    until(reached)


def test_kinds_of_jobs_are_found_by_themselves() -> None:
    assert Download in list(job_classes())


def test_a_job_runs_and_succeeds(runner: JobRunner, count: Make) -> None:
    job = count(count=3)
    runner.tick()
    assert status_of(job) == Status.RUNNING
    assert job.started_at is not None
    dead(job)
    runner.tick()
    assert (status_of(job), job.progress) == (Status.SUCCEEDED, 1.0)
    assert job.finished_at is not None
    assert not job.folder.path.exists()


def test_progress_is_copied_while_it_runs(runner: JobRunner, count: Make, tmp_path: Path) -> None:
    job = count(count=4, until=str(tmp_path / "go"))
    runner.tick()
    until(job.folder.last_progress)
    runner.tick()
    assert (status_of(job), job.percent) == (Status.RUNNING, 25)


def test_a_failed_job_says_why(runner: JobRunner, count: Make) -> None:
    job = count(fail_at=1)
    runner.tick()
    dead(job)
    runner.tick()
    assert (status_of(job), job.error) == (Status.FAILED, "It was told to fail at 1.")


def test_only_one_claims_a_row(count: Make) -> None:
    job = count()
    assert Download.objects.all().claim(job.pk)
    assert not Download.objects.all().claim(job.pk)


def test_more_than_the_setting_allows_wait_by_priority(
    runner: JobRunner, count: Make, tmp_path: Path
) -> None:
    Setting.objects.write("max_concurrent_downloads", 1)
    first = count("a/first", until=str(tmp_path / "never"))
    later = count("a/later", until=str(tmp_path / "never"))
    sooner = count("a/sooner", priority=5, until=str(tmp_path / "never"))
    runner.tick()
    assert [status_of(job) for job in (first, later, sooner)] == ["queued", "queued", "running"]
    later.set_priority(9)
    sooner.request_cancel()
    until_status(runner, sooner, Status.CANCELLED)
    runner.tick()
    assert [status_of(job) for job in (first, later)] == ["queued", "running"]


def test_cancelling_one_that_waits_needs_no_child(runner: JobRunner, count: Make) -> None:
    job = count()
    job.request_cancel()
    runner.tick()
    assert status_of(job) == Status.CANCELLED
    assert not job.folder.path.exists()


def test_cancelling_one_that_runs_ends_its_child(
    runner: JobRunner, count: Make, tmp_path: Path
) -> None:
    job = count(until=str(tmp_path / "never"))
    runner.tick()
    until(job.folder.last_progress)
    job.request_cancel()
    until_status(runner, job, Status.CANCELLED)
    assert not job.folder.is_alive()


def test_a_child_that_does_not_hear_is_killed(
    runner: JobRunner, count: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlxgui.jobs.runner.KILL_AFTER_SECONDS", 0.0)
    job = count(until=str(tmp_path / "never"), deaf=True)
    runner.tick()
    until(job.folder.last_progress)
    job.request_cancel()
    until_status(runner, job, Status.CANCELLED)


def test_paused_it_keeps_its_folder_and_goes_on(
    runner: JobRunner, count: Make, tmp_path: Path
) -> None:
    job = count(count=3, until=str(tmp_path / "go"))
    runner.tick()
    until(job.folder.last_progress)
    job.request_pause()
    until_status(runner, job, Status.PAUSED)
    assert job.folder.state() == {"counted": 1}
    runner.tick()
    assert status_of(job) == Status.PAUSED
    (tmp_path / "go").touch()
    assert job.resume()
    until_status(runner, job, Status.SUCCEEDED)


def test_paused_while_it_waits_it_does_not_start(runner: JobRunner, count: Make) -> None:
    job = count()
    job.request_pause()
    runner.tick()
    assert status_of(job) == Status.PAUSED


def test_a_wish_to_pause_can_be_taken_back(runner: JobRunner, count: Make, tmp_path: Path) -> None:
    job = count(until=str(tmp_path / "go"))
    runner.tick()
    until(job.folder.last_progress)
    job.request_pause()
    runner.tick()
    assert not job.resume()
    (tmp_path / "go").touch()
    until_status(runner, job, Status.SUCCEEDED)


def test_a_failed_job_can_be_tried_again(runner: JobRunner, count: Make) -> None:
    job = count(fail_at=1)
    until_status(runner, job, Status.FAILED)
    job.resume()
    assert (status_of(job), job.error) == (Status.QUEUED, "")


def test_a_killed_child_is_started_again_but_not_for_ever(
    runner: JobRunner, count: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Download, "RESTARTS", 2)
    job = count(count=3, crash_at=2)
    until_status(runner, job, Status.FAILED)
    assert job.restarts == 2
    assert "ended unexpectedly" in job.error


def test_another_runner_picks_up_what_runs(runner: JobRunner, count: Make, tmp_path: Path) -> None:
    job = count(count=2, until=str(tmp_path / "go"))
    runner.tick()
    pid = job.folder.pid
    after_restart = JobRunner()
    after_restart.tick()
    assert (status_of(job), job.folder.pid) == (Status.RUNNING, pid)
    (tmp_path / "go").touch()
    until_status(after_restart, job, Status.SUCCEEDED)


def test_another_runner_finishes_what_ended_meanwhile(runner: JobRunner, count: Make) -> None:
    job = count()
    runner.tick()
    dead(job)
    JobRunner().tick()
    assert status_of(job) == Status.SUCCEEDED


def test_what_follows_a_success_may_fail_and_is_said(
    runner: JobRunner, count: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Download, outcome: object) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(Download, "on_success", fail)
    job = count()
    until_status(runner, job, Status.FAILED)
    assert job.error == "It was done, but what follows failed: no room"


def test_no_child_stays_behind_as_a_zombie(runner: JobRunner, count: Make) -> None:
    job = count()
    runner.tick()
    pid = job.folder.pid
    dead(job)
    until(lambda: runner.tick() or not runner._children)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_of_before_a_restart_is_reaped(
    runner: JobRunner, count: Make, tmp_path: Path
) -> None:
    """A restart keeps the process and its children, but not what it had in mind."""
    job = count(count=1, until=str(tmp_path / "go"))
    runner.tick()
    pid = job.folder.pid
    anew = JobRunner()
    anew.tick()
    (tmp_path / "go").touch()
    dead(job)
    until_status(anew, job, Status.SUCCEEDED)

    def reaped() -> bool:
        anew.tick()
        return not psutil.pid_exists(pid)

    until(reaped)


def test_a_wish_to_cancel_can_be_taken_back(runner: JobRunner, count: Make, tmp_path: Path) -> None:
    """Install, Cancel, Install: the last word holds, though the child is being stopped."""
    job = count(until=str(tmp_path / "go"))
    runner.tick()
    until(job.folder.last_progress)
    job.request_cancel()
    runner.tick()
    job.resume()
    (tmp_path / "go").touch()
    until_status(runner, job, Status.SUCCEEDED)


def test_one_that_cannot_be_looked_after_does_not_stop_the_others(
    runner: JobRunner, count: Make, tmp_path: Path
) -> None:
    Setting.objects.write("max_concurrent_downloads", 2)
    odd = count("author/odd", until=str(tmp_path / "go"))
    other = count("author/other")
    runner.tick()
    until(odd.folder.last_progress)
    (odd.folder.path / "progress.jsonl").write_text('{"progress": "half"}\n')
    until_status(runner, other, Status.SUCCEEDED)
    (tmp_path / "go").touch()
