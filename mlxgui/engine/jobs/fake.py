"""A job that counts, with knobs for trouble: for tests of all that surrounds a job.

count: how far to count. until: go on only while this file does not exist. fail_at, crash_at: at
this number. deaf: does not hear that it is asked to stop.
"""

import os
import signal
import threading
from pathlib import Path
from typing import Any

from mlxgui.engine.jobs import JobFailed, Stopped
from mlxgui.engine.jobs.folder import JobFolder


def run(job: dict[str, Any], folder: JobFolder, stop: threading.Event) -> dict[str, Any]:
    count = int(job.get("count", 3))
    first = int(folder.state().get("counted", 0))
    for number in range(first + 1, count + 1):
        if number == job.get("fail_at"):
            raise JobFailed(f"It was told to fail at {number}.")
        if number == job.get("crash_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        folder.write_state(counted=number)
        folder.report(number / count, number=number)
        wait_for(job.get("until", ""), stop, bool(job.get("deaf")))
    return {"counted": count, "first": first}


def wait_for(file: str, stop: threading.Event, deaf: bool) -> None:
    """Until the file is there; at once where none is named."""
    while file and not Path(file).exists():
        if stop.wait(0.01) and not deaf:
            raise Stopped
    if stop.is_set() and not deaf:
        raise Stopped
