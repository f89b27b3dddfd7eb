"""A worker seen from the parent: one child process, its pipe, its log, its streams."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Literal

from mlxgui.engine import protocol
from mlxgui.engine.bounded_log import BoundedLog
from mlxgui.engine.errors import (
    EngineError,
    LoadFailed,
    ModelUnloaded,
    TimedOut,
    WorkerDied,
    from_code,
)
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.stream import Stream
from mlxgui.engine.types import Alive, Event, Request

State = Literal["starting", "ready", "stopping", "stopped"]

START_SECONDS = 60.0
"""To import the libraries and say so; loading the model has no bound of its own."""
READ_BYTES = 1 << 18
PROJECT = Path(__file__).resolve().parent.parent.parent
# Workers get their model's files and nothing else: no network, no tokens of the hub.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_SECRETS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "MLX_GUI_SECRET_KEY", "MLX_GUI_API_KEY")


class Worker:
    """One child. `start` once; then any number of `generate` side by side; `stop` at the end."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        log_path: Path,
        scratch: Path,
        on_exit: Callable[["Worker"], None] = lambda worker: None,
    ) -> None:
        self.spec = spec
        self.state: State = "starting"
        self.progress = 0.0
        self.facts: dict[str, Any] = {}
        self.pid = 0
        self._scratch = scratch
        self._log = BoundedLog(log_path)
        self._on_exit = on_exit
        self._ids = itertools.count(1)
        self._streams: dict[int, Stream] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when the model is loaded. Raises LoadFailed or what the backend raised."""
        try:
            await self._spawn()
            await asyncio.wait_for(asyncio.shield(self._ready), START_SECONDS)
            self._send(protocol.Load(self.spec))
            await asyncio.shield(self._loaded)
        except TimeoutError:
            await self.stop()
            raise LoadFailed("The model's process did not start.") from None
        except BaseException:
            await self.stop()
            raise
        self.state = "ready"

    async def _spawn(self) -> None:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in _SECRETS}
        environment |= {**_OFFLINE, "TMPDIR": str(self._scratch), "PYTHONPATH": str(PROJECT)}
        # A session of its own: Ctrl-C in the terminal is the server's to handle, not the child's.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mlxgui.engine.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=self._scratch,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._tasks = [
            asyncio.create_task(self._read_frames()),
            asyncio.create_task(self._read_log()),
        ]

    async def stop(self, error: EngineError | None = None, grace_seconds: float = 1.0) -> None:
        """End the child: close its stdin, then TERM, then KILL. Streams end with `error`."""
        if self.state == "stopped":
            return
        self.state = "stopping"
        self._fail_all(error or ModelUnloaded())
        if not self.pid:
            self._finish()
            return
        with contextlib.suppress(Exception):
            self._stdin.close()
        for send in (None, signal.SIGTERM, signal.SIGKILL):
            if send is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(send)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_seconds)
                break
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin

    def _finish(self) -> None:
        if self.state != "stopped":
            self.state = "stopped"
            self._log.close()
            self._on_exit(self)

    # -- requests ---------------------------------------------------------------------------------

    async def generate(
        self, request: Request, deadline: float | None = None
    ) -> AsyncGenerator[Event]:
        """Events from `Started` to `Done`. Leaving early cancels the request in the child.

        `deadline` is on time.monotonic's clock, and kept by `watch_streams`.
        """
        if self.state != "ready":
            raise WorkerDied()
        id = next(self._ids)
        stream = self._streams[id] = Stream(deadline)
        try:
            self._send(protocol.Generate(id, request))
            async for event in stream.events():
                yield event
        finally:
            del self._streams[id]
            if not stream.ended:
                self._send(protocol.Cancel(id))

    async def call(self, name: str, **arguments: Any) -> Any:
        """Ask the backend. Raises EngineError."""
        if self.state != "ready":
            raise WorkerDied()
        id = next(self._ids)
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        try:
            self._send(protocol.Call(id, name, arguments))
            return await answer
        finally:
            del self._answers[id]

    def watch_streams(self, quiet_seconds: float) -> None:
        """Called now and then: streams past their deadline end with TimedOut; those that had
        nothing for so long get an `Alive`. No clock has to be read for each event."""
        now = time.monotonic()
        for id, stream in self._streams.items():
            if stream.ended:
                continue
            if stream.deadline is not None and now > stream.deadline:
                stream.fail(TimedOut())
                self._send(protocol.Cancel(id))
            elif now - stream.last_at > quiet_seconds:
                stream.push(Alive())

    def _send(self, frame: protocol.ToChild) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(protocol.encode(frame))

    # -- what the child says ----------------------------------------------------------------------

    async def _read_frames(self) -> None:
        """Until its stdout ends: then the child is gone, whether asked to go or not."""
        assert self._process.stdout is not None
        buffer = bytearray()
        try:
            while data := await self._process.stdout.read(READ_BYTES):
                buffer += data
                for body in protocol.take_frames(buffer):
                    self._receive(protocol.decode_from_child(body))
        except protocol.BrokenFrame as error:
            self._log.write(f"The worker wrote no frame: {error}\n".encode())
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()  # without its pipe it is of no use, if it lives at all
        await self._process.wait()
        self._finish()
        self._fail_all(WorkerDied())

    def _receive(self, frame: protocol.ToParent) -> None:
        match frame:
            case protocol.Events(items):
                streams = self._streams
                for id, event in items:
                    if (stream := streams.get(id)) is not None:
                        stream.push(event)
            case protocol.Failed(id, code, message, param):
                self._failed(id, from_code(code, message, param))
            case protocol.Answer(id, value):
                if (answer := self._answers.get(id)) and not answer.done():
                    answer.set_result(value)
            case protocol.Ready():
                _settle(self._ready)
            case protocol.Loading(fraction):
                self.progress = fraction
            case protocol.Loaded(facts):
                self.progress, self.facts = 1.0, facts
                _settle(self._loaded)

    def _failed(self, id: int, error: EngineError) -> None:
        if not id and not self._loaded.done():
            self._loaded.set_exception(error)
        elif (stream := self._streams.get(id)) is not None:
            stream.fail(error)
        elif (answer := self._answers.get(id)) and not answer.done():
            answer.set_exception(error)

    def _fail_all(self, error: EngineError) -> None:
        for stream in self._streams.values():
            stream.fail(error)
        for waiting in [*self._answers.values(), self._ready, self._loaded]:
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen: nobody may be waiting for this one

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(1 << 16):
            self._log.write(data)


def _settle(waited_for: asyncio.Future[None]) -> None:
    """The child's word may come after its worker was told to stop."""
    if not waited_for.done():
        waited_for.set_result(None)
