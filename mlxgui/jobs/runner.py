"""The runner: starts queued jobs, copies what they report, stops and finishes them.

One tick looks at every row that is not finished. It keeps nothing in mind that matters: after a
restart of the server the folders and their locks say what goes on. It runs in a thread of its own,
because a tick reads files and writes rows.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import close_old_connections
from django.utils import timezone

from mlxgui.jobs.models import Job, Status

log = logging.getLogger("mlxgui.jobs")

TICK_SECONDS = 1.0
KILL_AFTER_SECONDS = 10.0


def job_classes(root: type[Job] = Job) -> Iterator[type[Job]]:
    """Every kind of job there is."""
    for kind in root.__subclasses__():
        if not kind._meta.abstract:
            yield kind
        yield from job_classes(kind)


class JobRunner:
    def __init__(self) -> None:
        self._asked_to_stop: dict[str, float] = {}
        self._children: set[int] = set()
        self._wake = threading.Event()
        self._ending = False

    def tick(self) -> None:
        self._reap()
        for kind in job_classes():
            for job in kind._default_manager.filter(status=Status.RUNNING):
                _alone(self._watch, job)
            for job in kind._default_manager.filter(status__in=[Status.QUEUED, Status.PAUSED]):
                _alone(self._settle, job)
            self._start_next(kind)

    # -- rows that run ----------------------------------------------------------------------------

    def _watch(self, job: Job) -> None:
        alive = job.folder.is_alive()  # asked first: what a dead child wrote is final
        self._copy_progress(job)
        # Also those that this process started before it restarted itself: they are its to reap.
        if pid := job.folder.pid:
            self._children.add(pid)
        if not alive:
            self._asked_to_stop.pop(str(job.uuid), None)
            self._finish(job, job.folder.outcome())
        elif job.cancel_requested or job.pause_requested:
            self._stop(job)

    def _copy_progress(self, job: Job) -> None:
        line = job.folder.last_progress()
        if line:
            job.progress = min(1.0, max(0.0, float(line.get("progress", 0.0))))
            job.save(update_fields=["progress", *job.on_progress(line)])

    def _stop(self, job: Job) -> None:
        """Ask, and after a while do not ask."""
        since = self._asked_to_stop.setdefault(str(job.uuid), time.monotonic())
        is_deaf = time.monotonic() - since > KILL_AFTER_SECONDS
        job.folder.signal(signal.SIGKILL if is_deaf else signal.SIGTERM)

    def _finish(self, job: Job, outcome: dict[str, Any]) -> None:
        status = outcome.get("status")
        if status == "succeeded":
            self._succeed(job, outcome)
        elif job.cancel_requested:
            self._cancel(job)
        elif job.pause_requested:
            _write(job, status=Status.PAUSED)
        elif status == "failed":
            _end(job, Status.FAILED, str(outcome.get("error", "")))
        elif status == "stopped":  # the wish was taken back meanwhile
            _write(job, status=Status.QUEUED)
        elif job.restarts < job.RESTARTS:
            log.warning("%s ended unexpectedly and is started again", job)
            _write(job, status=Status.QUEUED, restarts=job.restarts + 1)
        else:
            _end(job, Status.FAILED, _why_dead(job))

    def _succeed(self, job: Job, outcome: dict[str, Any]) -> None:
        try:
            job.on_success(outcome)
        except Exception as error:
            log.exception("%s was done, but what follows failed", job)
            _end(job, Status.FAILED, f"It was done, but what follows failed: {error}")
        else:
            job.progress = 1.0
            job.save(update_fields=["progress"])
            _end(job, Status.SUCCEEDED)
            job.folder.remove()

    # -- rows that wait ---------------------------------------------------------------------------

    def _settle(self, job: Job) -> None:
        if job.cancel_requested:
            self._cancel(job)
        elif job.pause_requested and job.status == Status.QUEUED:
            _write(job, status=Status.PAUSED)

    def _cancel(self, job: Job) -> None:
        try:
            job.on_cancel()
        except OSError:
            log.exception("cleaning up after %s", job)
        _end(job, Status.CANCELLED)
        job.folder.remove()

    def _start_next(self, kind: type[Job]) -> None:
        rows = kind._default_manager
        room = kind.max_running() - rows.filter(status=Status.RUNNING).count()
        if room <= 0:
            return
        for job in rows.filter(status=Status.QUEUED).in_order()[:room]:
            if rows.all().claim(job.pk):
                self._start(job)

    def _start(self, job: Job) -> None:
        try:
            pid = job.folder.start({"kind": job.KIND, **job.describe()}, job.environment())
        except BlockingIOError:
            return  # its child lives: it was claimed by a server that is gone
        except OSError as error:
            _end(job, Status.FAILED, f"Its process could not be started: {error.strerror}.")
        else:
            self._children.add(pid)

    # -- the thread -------------------------------------------------------------------------------

    def start(self) -> None:
        threading.Thread(target=self.run, name="jobs", daemon=True).start()

    def run(self) -> None:
        while not self._ending:
            self._wake.clear()
            try:
                close_old_connections()
                self.tick()
            except Exception:
                log.exception("a tick failed")
            self._wake.wait(TICK_SECONDS)

    def poke(self) -> None:
        """Something was wished for: tick now."""
        self._wake.set()

    def close(self) -> None:
        """Stop ticking. What runs goes on."""
        self._ending = True
        self._wake.set()

    def _reap(self) -> None:
        for pid in list(self._children):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid
            if ended:
                self._children.discard(pid)


def _alone(step: Callable[[Job], None], job: Job) -> None:
    """What goes wrong with one job must not stop the others."""
    try:
        step(job)
    except Exception:
        log.exception("%s could not be looked after", job)


def _write(job: Job, **facts: Any) -> None:
    for name, value in facts.items():
        setattr(job, name, value)
    job.save(update_fields=list(facts))


def _end(job: Job, status: Status, error: str = "") -> None:
    _write(job, status=status, error=error, finished_at=timezone.now())


def _why_dead(job: Job) -> str:
    lines = [line for line in job.folder.log_tail().splitlines() if line.strip()]
    last = f" Its last words: {lines[-1][:300]}" if lines else ""
    return f"Its process ended unexpectedly.{last}"


_runner: JobRunner | None = None


def start_runner() -> JobRunner:
    """The running server's, started at the first call."""
    global _runner
    if _runner is None:
        _runner = JobRunner()
        _runner.start()
    return _runner


def poke() -> None:
    """Where a server runs, let it look at the rows at once."""
    if _runner is not None:
        _runner.poke()
