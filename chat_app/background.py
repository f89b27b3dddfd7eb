"""Responses of /v1/responses that are made in the background, and watched or asked for by their id.

Whoever watches reads a log of the events. Nobody has to: the response goes on when its client has
gone, and a client that comes back reads on where it stopped.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Any

from chat_app.responses import Answering
from chat_app.stored import StoredResponse
from mlxgui.engine.errors import EngineError

log = logging.getLogger("mlxgui.api")

GONE = "The server was restarted while it answered."
KEPT_LOGS = 32
"""Of responses that have ended."""


class EventLog:
    """The events of one response in order; an event's number is its place."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._is_closed = False
        self._changed = asyncio.Event()

    def add(self, frames: bytes) -> None:
        """One frame or several: each ends with an empty line, and none holds another."""
        self._frames += [frame + b"\n\n" for frame in frames.split(b"\n\n") if frame]
        self._tell()

    def close(self) -> None:
        self._is_closed = True
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def frames(self, after: int = -1) -> AsyncGenerator[bytes]:
        """Those with a higher number than `after`, as they come, up to the last."""
        place = after + 1
        while True:
            changed, new = self._changed, self._frames[place:]
            if new:
                yield b"".join(new)
                place += len(new)
            elif self._is_closed:
                return
            else:
                await changed.wait()


_running: dict[str, asyncio.Task[None]] = {}
_logs: OrderedDict[str, EventLog] = OrderedDict()


async def begin(answering: Answering) -> None:
    """Stored at once; whoever asks for it by its id sees how far it is."""
    events = _logs[answering.id] = EventLog()
    answering.response["status"] = "queued"
    events.add(answering.encoder.queue())
    await answering.keep()
    task = _running[answering.id] = asyncio.create_task(_run(answering, events))
    task.add_done_callback(lambda task: _end(answering.id))


def _end(id: str) -> None:
    _running.pop(id, None)
    _logs[id].close()
    ended = [known for known in _logs if known not in _running]
    for oldest in ended[: max(0, len(ended) - KEPT_LOGS)]:
        del _logs[oldest]


async def _run(answering: Answering, log_of_events: EventLog) -> None:
    try:
        first, events, _ = await answering.begin()
        answering.response["status"] = "in_progress"
        await answering.keep()
        async with contextlib.aclosing(answering.frames(first, events)) as frames:
            async for frame in frames:
                log_of_events.add(frame)
    except asyncio.CancelledError:
        answering.response["status"] = "cancelled"
        await answering.keep()
        raise
    except Exception as error:
        if not isinstance(error, EngineError):
            log.exception("a background response failed")
        log_of_events.add(answering.encoder.fail(error))
        await answering.keep()


async def cancel(id: str) -> bool:
    """False where it does not run any more."""
    task = _running.get(id)
    if task is None:
        return False
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return True


def log_of(id: str) -> EventLog | None:
    return _logs.get(id)


def as_it_is(row: StoredResponse) -> dict[str, Any]:
    """The response as stored; one whose server has gone meanwhile has failed."""
    response = row.response
    if response["status"] in ("queued", "in_progress") and row.pk not in _running:
        response["status"] = "failed"
        response["error"] = {"code": "server_error", "message": GONE}
    return response
