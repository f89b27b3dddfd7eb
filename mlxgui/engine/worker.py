"""The child process that holds one model: `python -m mlxgui.engine.worker`.

Two threads. The reader (main) takes frames from stdin and prepares requests: chat template and
tokens. The mlx thread loads, runs and frees the model, and writes what each step made; mlx streams
are thread-local (since mlx 0.31.2), so nothing else may touch them. End of stdin = exit.
"""

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from mlxgui.engine import footprint, protocol
from mlxgui.engine.backends import Backend, make_backend
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed
from mlxgui.engine.remote_code import refuse_code
from mlxgui.engine.types import Event, Progress, Started

HOLD_SECONDS = 0.03
"""Text that moves thirty times a second seems to flow. A faster model's tokens share frames, but
for the first: each frame costs the web process time that the model could have."""

IDLE_SECONDS = 0.2
CLOSE_SECONDS = 0.6
"""The parent sends a signal when it has waited for a second."""

log = logging.getLogger("worker")


class Pipe:
    """The way out. Libraries may print: their stdout is turned into the log before this is made."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, frame: protocol.ToParent) -> None:
        with self._lock:
            self._file.write(protocol.encode(frame))
            self._file.flush()

    def fail(self, id: int, error: EngineError) -> None:
        param = error.param if isinstance(error, BadRequest) else None
        self.send(protocol.Failed(id, error.code, error.message, param))


class Loop:
    """The mlx thread: commands in, steps, frames out."""

    def __init__(self, backend: Backend, pipe: Pipe) -> None:
        self.backend = backend
        self.pipe = pipe
        self.inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._held: list[tuple[int, Event]] = []
        self._sent_at = 0.0
        self._unheard: set[int] = set()
        self._base_bytes = footprint.base_bytes()

    def run(self, load: protocol.Load) -> None:
        if not self._load(load):
            return
        while True:
            self._take_commands()
            self._step()

    def _load(self, load: protocol.Load) -> bool:
        try:
            refuse_code(load.spec)
            facts = self.backend.load(load.spec, lambda f: self.pipe.send(protocol.Loading(f)))
        except EngineError as error:
            self.pipe.fail(0, error)
        except Exception as error:
            log.exception("loading failed")
            self.pipe.fail(0, LoadFailed(f"The model could not be loaded: {error}"))
        else:
            self.pipe.send(protocol.Loaded(facts))
            return True
        return False

    def _take_commands(self) -> None:
        """All that wait; blocks while there is nothing else to do."""
        if not self.backend.is_busy:
            self._flush()
            wait = IDLE_SECONDS if self.backend.idle() else None
            try:
                command = self.inbox.get(timeout=wait)
            except queue.Empty:
                return
            command()
        with contextlib.suppress(queue.Empty):
            while True:
                command = self.inbox.get_nowait()
                self._flush()  # what is held must not wait for a prefill
                command()

    def _step(self) -> None:
        started = time.perf_counter()
        outputs = self.backend.step()
        urgent = False
        for id, output in outputs:
            if isinstance(output, EngineError):
                self._flush()
                self._unheard.discard(id)
                self.pipe.fail(id, output)
            else:
                self._held.append((id, output))
                urgent = self._is_urgent(id, output) or urgent
        now = time.perf_counter()
        late = (now - self._sent_at) + (now - started) > HOLD_SECONDS
        if urgent or late or getattr(self.backend, "reads_next", False):
            self._flush()  # what is held must not wait for a prefill

    def _is_urgent(self, id: int, event: Event) -> bool:
        """All that is no text, and the first text of each request."""
        if not isinstance(event, protocol.HOLDABLE):
            if isinstance(event, Started):
                self._unheard.add(id)
            else:
                self._unheard.discard(id)
            return True
        if id in self._unheard and not isinstance(event, Progress):
            self._unheard.discard(id)
            return True
        return False

    def _flush(self) -> None:
        if self._held:
            self.pipe.send(protocol.Events(self._held))
            self._held = []
            self._sent_at = time.perf_counter()

    def close(self, seconds: float) -> None:
        """Let the backend finish, from another thread; back after so long at most."""
        done = threading.Event()

        def finish() -> None:
            self.backend.close(seconds)
            done.set()

        self.inbox.put(finish)
        done.wait(seconds)

    def withdraw(self, id: int) -> None:
        """Told by the reader before `cancel` has its turn: a backend whose steps are long can end
        one in its midst."""
        if (tell := getattr(self.backend, "withdraw", None)) is not None:
            tell(id)

    # -- commands, put into the inbox by the reader ---------------------------------------------

    def add(self, id: int, prepared: Any) -> None:
        try:
            self.backend.add(id, prepared)
        except EngineError as error:
            self.pipe.fail(id, error)
        except Exception as error:
            log.exception("adding request %d failed", id)
            self.pipe.fail(id, EngineError(f"The request failed: {error}"))

    def cancel(self, id: int) -> None:
        self._unheard.discard(id)
        self.backend.cancel(id)

    def call(self, frame: protocol.Call) -> None:
        try:
            answer = self.backend.call(frame.name, frame.arguments)
        except EngineError as error:
            self.pipe.fail(frame.id, error)
        except Exception as error:
            log.exception("%s failed", frame.name)
            self.pipe.fail(frame.id, EngineError(f"{frame.name} failed: {error}"))
        else:
            if frame.name == "stats":
                peak = footprint.peak_bytes(self._base_bytes, int(answer.get("peak_bytes", 0)))
                answer = {**answer, "peak_process_bytes": peak}
            self.pipe.send(protocol.Answer(frame.id, answer))


def read(source: BinaryIO, loop: Loop, prepare: Callable[[Any], Any]) -> None:
    """The reader: until the parent is gone."""
    while (frame := protocol.read_from_parent(source)) is not None:
        match frame:
            case protocol.Generate(id, request):
                try:
                    prepared = prepare(request)
                except EngineError as error:
                    loop.pipe.fail(id, error)
                except Exception as error:
                    log.exception("preparing request %d failed", id)
                    loop.pipe.fail(id, EngineError(f"The request failed: {error}"))
                else:
                    loop.inbox.put(lambda id=id, ready=prepared: loop.add(id, ready))  # type: ignore[misc]
            case protocol.Cancel(id):
                loop.withdraw(id)
                loop.inbox.put(lambda id=id: loop.cancel(id))  # type: ignore[misc]
            case protocol.Call():
                loop.inbox.put(lambda call=frame: loop.call(call))  # type: ignore[misc]


def take_stdout() -> BinaryIO:
    """stdout is the protocol. Whatever libraries print goes to stderr, the log."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(own, "wb", buffering=1 << 16)


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    pipe = Pipe(take_stdout())
    source = sys.stdin.buffer
    pipe.send(protocol.Ready(os.getpid()))
    first = protocol.read_from_parent(source)
    if not isinstance(first, protocol.Load):
        return
    try:
        backend = make_backend(first.spec.kind)
    except EngineError as error:
        pipe.fail(0, error)
        return
    loop = Loop(backend, pipe)
    threading.Thread(target=run_or_die, args=(loop, first), name="mlx", daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        read(source, loop, backend.prepare)
    loop.close(CLOSE_SECONDS)
    os._exit(0)  # the mlx thread may be deep in a kernel; the model's memory goes with the process


def run_or_die(loop: Loop, load: protocol.Load) -> None:
    """A worker without its mlx thread is of no use: leave, so that the pool starts another."""
    try:
        loop.run(load)
    except BrokenPipeError:
        os._exit(0)
    except BaseException:
        log.exception("the mlx thread ended")
        os._exit(70)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
