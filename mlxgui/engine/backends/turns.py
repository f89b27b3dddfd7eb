"""What backends for tasks share, and those that serve one request a chunk at a time.

A chunk is what must be done in one go: a window of a clip, a sentence to say, a picture. Between
chunks the worker listens, so a request can be cancelled, and one of a higher priority goes first.
"""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import mlx.core as mx
from msgspec import Struct

from mlxgui.engine.backends import Output
from mlxgui.engine.backends.device import choose_device
from mlxgui.engine.backends.limits import keep_to
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed, one_line
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Done, Event, Request, Started, Timing, Usage, Warned

log = logging.getLogger("worker.tasks")


class Prepared(Struct, kw_only=True):
    """A request that was checked, and what its own backend made of it."""

    request: Any
    prompt_tokens: int = 0
    notes: list[str] = []


class Row(Struct):
    """One request in the worker. `work` is the backend's own."""

    id: int
    prepared: Prepared
    arrived_at: float
    work: Any = None
    served_at: float = 0.0
    """When it last had a turn; 0 = not yet."""
    began_at: float = 0.0

    def done(self, usage: Usage) -> Done:
        now = time.perf_counter()
        began = self.began_at or now
        waited = began - self.arrived_at
        return Done(usage, Timing(queued_seconds=waited, decode_seconds=now - began))


class TaskBackend:
    """Loading, arrivals, cancelling, statistics. A subclass says how a request is served."""

    takes: ClassVar[type[Struct]]
    """The one kind of request that these models answer."""
    words: ClassVar[str]
    """Such as “an embedding model”."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self._early: list[Output] = []

    # -- what a subclass says -------------------------------------------------------------------

    def open(self, folder: Path) -> dict[str, Any]:
        """Read the model; returns facts about it. Whatever it raises is a failed load."""
        raise NotImplementedError

    def check(self, request: Any) -> Prepared:
        """Raises BadRequest. Runs on the reader's thread: no mlx here."""
        raise NotImplementedError

    def serve(self, out: list[Output]) -> None:
        """One chunk for one request, or one batch for several."""
        raise NotImplementedError

    # -- the backend's protocol -----------------------------------------------------------------

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        self.spec = spec
        choose_device(spec.options)
        try:
            # A path that exists is never looked up on a hub.
            facts = self.open(Path(spec.path).resolve(strict=True))
        except EngineError:
            raise
        except Exception as error:
            log.exception("loading %s failed", spec.path)
            raise LoadFailed(f"“{spec.name}” could not be loaded: {one_line(error)}") from error
        report(1.0)
        keep_to(spec, spec.options.memory_bytes)
        return {**facts, "active_bytes": int(mx.get_active_memory())}

    def prepare(self, request: Request) -> Prepared:
        if not isinstance(request, self.takes):
            raise BadRequest(f"“{self.spec.name}” is {self.words}.", param="model")
        return self.check(request)

    def add(self, id: int, prepared: Prepared) -> None:
        self.rows[id] = Row(id, prepared, time.perf_counter())
        self._early.extend((id, Warned(note)) for note in prepared.notes)
        self._early.append((id, Started(prepared.prompt_tokens)))

    def step(self) -> list[Output]:
        out, self._early = self._early, []
        if not out and self.rows:
            self.serve(out)
            mx.clear_cache()
        return out

    def next_rows(self) -> list[Row]:
        """Those of the highest priority; who waits longest for a turn is first."""
        highest = max(row.prepared.request.priority for row in self.rows.values())
        rows = [row for row in self.rows.values() if row.prepared.request.priority == highest]
        return sorted(rows, key=lambda row: (row.served_at, row.arrived_at))

    def begin(self, row: Row) -> None:
        row.served_at = time.perf_counter()
        row.began_at = row.began_at or row.served_at

    def end(self, row: Row, out: list[Output], last: Done | EngineError) -> None:
        if self.rows.pop(row.id, None) is not None:
            out.append((row.id, last))

    def cancel(self, id: int) -> None:
        self.rows.pop(id, None)
        self._early = [output for output in self._early if output[0] != id]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "stats":
            return {
                "in_flight": len(self.rows),
                "active_bytes": int(mx.get_active_memory()),
                "peak_bytes": int(mx.get_peak_memory()),
            }
        if name == "set_memory":
            return keep_to(self.spec, int(arguments["memory_bytes"]))
        raise BadRequest(f"“{self.spec.name}” is {self.words}: it has no {name}.")

    def idle(self) -> bool:
        return False

    def close(self, seconds: float) -> None:
        self.rows.clear()

    @property
    def is_busy(self) -> bool:
        return bool(self.rows or self._early)


class Withdrawn(Exception):
    """Nobody waits for the chunk any more."""


class Chunk(Struct):
    """What one turn made. The next turn may be another request's, unless `pause` is False: then
    the model is in the midst of something that it keeps in itself."""

    events: list[Event]
    pause: bool = True


class TurnBackend(TaskBackend):
    """One request a turn. `work` of a row is its generator of chunks."""

    def __init__(self) -> None:
        super().__init__()
        self._held: Row | None = None
        self._served = 0
        self._withdrawn: set[int] = set()

    def chunks(self, prepared: Any) -> Iterator[Chunk]:
        """All that a request asks for, a piece at a time."""
        raise NotImplementedError

    def usage(self, row: Row) -> Usage:
        return Usage(prompt_tokens=row.prepared.prompt_tokens)

    def serve(self, out: list[Output]) -> None:
        row = self._held or self.next_rows()[0]
        self.begin(row)
        if row.work is None:
            row.work = self.chunks(row.prepared)
        self._held, self._served = None, row.id
        try:
            chunk = next(row.work)
        except Withdrawn:
            self.cancel(row.id)
        except StopIteration:
            self.end(row, out, row.done(self.usage(row)))
        except EngineError as error:
            self.end(row, out, error)
        except Exception as error:
            log.exception("request %d failed", row.id)
            failed = EngineError(f"The model failed on this request: {one_line(error)}")
            self.end(row, out, failed)
        else:
            out.extend((row.id, event) for event in chunk.events)
            self._held = None if chunk.pause else row

    def withdraw(self, id: int) -> None:
        """Runs on the reader's thread, and `cancel` follows."""
        self._withdrawn.add(id)

    def go_on(self) -> None:
        """What a long chunk calls between its parts. Raises Withdrawn."""
        if self._served in self._withdrawn:
            raise Withdrawn

    def cancel(self, id: int) -> None:
        self._withdrawn.discard(id)
        row = self.rows.get(id)
        super().cancel(id)
        if row is not None and row.work is not None:
            row.work.close()
        if row is self._held:
            self._held = None
