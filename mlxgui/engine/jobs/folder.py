"""The folder of one job: the one class that knows its file names. Both sides use it.

The parent writes job.json and the lock; the child writes everything else. The lock (flock) is held
by the child merely by living: it is passed on open, and goes with the process, however that ends.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
TAIL_BYTES = 4000


class JobFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / "log.txt"
        self._job = path / "job.json"
        self._lock = path / "lock"
        self._progress = path / "progress.jsonl"
        self._state = path / "state.json"
        self._outcome = path / "outcome.json"

    # -- the parent's side ------------------------------------------------------------------------

    def start(self, job: dict[str, Any], environment: dict[str, str]) -> int:
        """Start the child in a session of its own; returns its process id.

        Raises BlockingIOError when a child is at work here already.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._outcome.unlink(missing_ok=True)
            self._progress.unlink(missing_ok=True)
            _replace(self._job, job)
            pid = self._spawn(lock, environment)
            os.pwrite(lock, f"{pid}\n".encode(), 0)
        finally:
            os.close(lock)
        return pid

    def _spawn(self, lock: int, environment: dict[str, str]) -> int:
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlxgui.engine.jobs", str(self.path)],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock],
            )
        process.returncode = 0  # it outlives this object, and perhaps this process
        return process.pid

    def is_alive(self) -> bool:
        """Whether a child is at work here. Asks the lock, so a reused process id cannot deceive."""
        try:
            lock = os.open(self._lock, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def signal(self, number: signal.Signals) -> None:
        """To the child, if there is one."""
        if self.is_alive() and (pid := self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def pid(self) -> int:
        try:
            return int(self._lock.read_text().strip() or 0)
        except (OSError, ValueError):
            return 0

    def last_progress(self) -> dict[str, Any]:
        """The last whole line; empty where there is none."""
        for line in reversed(_tail(self._progress).splitlines()):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
        return {}

    def state(self) -> dict[str, Any]:
        return _read(self._state)

    def outcome(self) -> dict[str, Any]:
        """How it ended: `status` (succeeded, failed, stopped), `error`, and what the body found."""
        return _read(self._outcome)

    def log_tail(self) -> str:
        return _tail(self.log_file)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    # -- the child's side -------------------------------------------------------------------------

    def read_job(self) -> dict[str, Any]:
        found = json.loads(self._job.read_text())
        assert isinstance(found, dict)
        return found

    def claim(self) -> None:
        """The child's own word on who it is, should the parent have gone before writing it."""
        if self._lock.exists():
            self._lock.write_text(f"{os.getpid()}\n")

    def report(self, progress: float, **facts: Any) -> None:
        """One line: how far it is (0 to 1), and what else there is to say."""
        line = json.dumps({"time": time.time(), "progress": progress, **facts})
        with self._progress.open("a") as stream:
            stream.write(f"{line}\n")

    def write_state(self, **facts: Any) -> None:
        """What is to be remembered from one run to the next."""
        _replace(self._state, facts)

    def finish(self, status: str, **facts: Any) -> None:
        _replace(self._outcome, {"status": status, **facts})


def _replace(file: Path, value: dict[str, Any]) -> None:
    """Whole or not at all: a reader never sees half a file."""
    new = file.with_name(f"{file.name}.new")
    with new.open("w") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
