"""A job's process: `python -m mlxgui.engine.jobs FOLDER`.

SIGTERM asks the body to stop. However it ends, outcome.json says so; where there is none, the
process was killed.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from mlxgui.engine.jobs import BODIES, Body, JobFailed, Stopped
from mlxgui.engine.jobs.folder import JobFolder


def main(folder: JobFolder) -> int:
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server
    folder.claim()
    try:
        job = folder.read_job()
        body: Body = importlib.import_module(BODIES[job["kind"]]).run
        folder.finish("succeeded", **body(job, folder, stop))
    except Stopped:
        folder.finish("stopped")
    except JobFailed as reason:
        folder.finish("failed", error=str(reason))
        return 1
    except Exception as error:
        traceback.print_exc()
        folder.finish("failed", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    status = main(JobFolder(Path(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread may still be waiting for the network
