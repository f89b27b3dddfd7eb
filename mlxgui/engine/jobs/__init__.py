"""Slow work in a process of its own. A job lives in its folder and outlives the server.

`python -m mlxgui.engine.jobs FOLDER` runs the body that the folder's job.json names. Here is what
bodies share; it imports nothing heavy, so that both sides can use it.
"""

import threading
from collections.abc import Callable
from typing import Any

BODIES = {
    "fake": "mlxgui.engine.jobs.fake",
    "download": "mlxgui.engine.jobs.download",
}
"""Kind → module with `run(job, folder, stop)`, which returns facts for the outcome."""

Body = Callable[[dict[str, Any], Any, threading.Event], dict[str, Any]]


class Stopped(Exception):
    """The job was asked to stop, and did."""


class JobFailed(Exception):
    """The job cannot go on. The message says why, and what to do about it."""
