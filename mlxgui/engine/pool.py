"""The models that are loaded: who may run now, who waits, who must go.

Callers that arrive together share one load. One model is loaded at a time; loads wait in
line by priority. Everything here runs on one event loop, so there are no locks beside that line.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from mlxgui.engine.deadline import deadline_after, within
from mlxgui.engine.errors import (
    EngineError,
    LoadFailed,
    ModelUnloaded,
    NotEnoughMemory,
    QueueFull,
    ShuttingDown,
    WorkerDied,
)
from mlxgui.engine.line import Line
from mlxgui.engine.memory import GIB, machine_memory
from mlxgui.engine.place import Limits, Place, Resident
from mlxgui.engine.policy import Bounds, Refuse, Room, make_room
from mlxgui.engine.process import Worker
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import Event, Request

log = logging.getLogger("mlxgui.pool")

SWEEP_SECONDS = 1.0
ALIVE_SECONDS = 10.0
"""A stream that had nothing for so long says so: clients time out on silence."""

__all__ = ["Limits", "ModelPool", "Resident"]


class ModelPool:
    """Args:
    logs: folder for the workers' logs.
    scratch: private folder for compiled kernels.
    """

    def __init__(self, *, logs: Path, scratch: Path, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.failures: dict[str, str] = {}
        self._logs = logs
        self._scratch = scratch
        self._places: dict[str, Place] = {}
        self._load_line = Line(1, 1 << 16)
        self._changed = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False

    # -- what callers do --------------------------------------------------------------------------

    async def generate(self, spec: ModelSpec, request: Request) -> AsyncGenerator[Event]:
        """Events from `Started` to `Done`; loads the model first where needed.

        Closing the iterator early cancels the request. Raises EngineError: before the first event
        for all that can be known then, later only when the worker dies or time is up.
        """
        deadline = deadline_after(request.timeout_seconds or self.limits.request_seconds)
        place = await within(deadline, self._ready(spec, request.priority))
        try:
            await within(deadline, place.line.enter(request.priority))
            try:
                worker = await within(deadline, self._worker(place, request.priority))
                async with contextlib.aclosing(worker.generate(request, deadline)) as stream:
                    async for event in stream:
                        yield event
            finally:
                place.line.leave()
        finally:
            place.touch()
            self._drop_if_dead(place)
            self._changed.set()

    async def load(self, spec: ModelSpec, priority: int = 0) -> None:
        """Returns when the model is ready. Raises LoadFailed, NotEnoughMemory, QueueFull."""
        await self._ready(spec, priority)

    async def unload(self, name_or_key: str) -> bool:
        """End the model's worker at once; its streams end with ModelUnloaded. False: not loaded."""
        found = [p for p in self._places.values() if name_or_key in (p.spec.name, p.spec.key)]
        for place in found:
            await self._remove(place)
        return bool(found)

    async def call(self, spec: ModelSpec, name: str, **arguments: Any) -> Any:
        """Ask a model's backend, loading it where needed."""
        place = await self._ready(spec, 0)
        worker = await self._worker(place, 0)
        return await worker.call(name, **arguments)

    async def ask(self, key: str, name: str, **arguments: Any) -> Any:
        """Ask a model that is loaded; never loads one. Raises ModelUnloaded where it is not."""
        place = self._places.get(key)
        if place is None or place.worker is None:
            raise ModelUnloaded("The model is not loaded.")
        return await place.worker.call(name, **arguments)

    def residents(self) -> list[Resident]:
        return [place.resident() for place in self._places.values()]

    def apply(self, limits: Limits) -> None:
        """New limits, for what runs now too."""
        self.limits = limits
        for place in self._places.values():
            place.line.resize(limits.max_requests, limits.max_waiting)
        self._changed.set()

    async def close(self) -> None:
        """End every worker; what runs gets ShuttingDown."""
        self._closing = True
        if self._sweeper:
            self._sweeper.cancel()
        places = list(self._places.values())
        await asyncio.gather(*(self._remove(place, ShuttingDown()) for place in places))

    # -- loading ----------------------------------------------------------------------------------

    async def _ready(self, spec: ModelSpec, priority: int) -> Place:
        if self._closing:
            raise ShuttingDown()
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        place = self._places.get(spec.key)
        if place is None:
            place = self._places[spec.key] = Place(spec, self.limits)
        place.spec = spec
        await self._worker(place, priority)
        return place

    async def _worker(self, place: Place, priority: int) -> Worker:
        """A ready worker; all callers that arrive meanwhile wait for the same load."""
        if place.worker is not None and place.worker.state == "ready":
            place.touch()
            return place.worker
        if self._places.get(place.spec.key) not in (place, None):
            raise ModelUnloaded()
        if place.loading is None or place.loading.done():
            place.loading = asyncio.create_task(self._load(place, priority))
            place.loading.add_done_callback(_see_exception)
        # Shielded: one caller that goes away must not end the load for the others.
        return await asyncio.shield(place.loading)

    async def _load(self, place: Place, priority: int) -> Worker:
        self._places[place.spec.key] = place
        try:
            await self._load_line.enter(priority)
            try:
                await self._make_room(place)
                place.worker = worker = Worker(
                    with_options(place.spec, self.limits.options),
                    log_path=self._logs / f"{_file_name(place.spec.name)}.log",
                    scratch=self._scratch,
                    on_exit=self._on_exit,
                )
                await worker.start()
            finally:
                self._load_line.leave()
        except asyncio.CancelledError:
            raise ModelUnloaded() from None
        except Exception as error:
            self._places.pop(place.spec.key, None)
            failure = error if isinstance(error, EngineError) else LoadFailed(str(error))
            if isinstance(failure, WorkerDied):
                failure = LoadFailed(f"The process of “{place.spec.name}” ended while loading it.")
            self.failures[place.spec.key] = failure.message
            raise failure from error
        self.failures.pop(place.spec.key, None)
        place.loaded_at = datetime.now(UTC)
        place.touch()
        return worker

    async def _make_room(self, place: Place) -> None:
        """Unload what must go, oldest first. Waits for models that answer now, within bounds."""
        until = time.monotonic() + self.limits.wait_for_room_seconds
        while True:
            others = [p.slot() for p in self._places.values() if p is not place and p.worker]
            decision = make_room(place.spec.memory_bytes, others, self._bounds())
            if isinstance(decision, Room):
                for key in decision.evict:
                    log.info("unloading %s to make room for %s", key, place.spec.name)
                    await self._remove(self._places[key])
                return
            if isinstance(decision, Refuse):
                raise NotEnoughMemory(refusal(place.spec.name, decision, self.limits.max_models))
            if (left := until - time.monotonic()) <= 0:
                raise QueueFull("All loaded models are busy, and there is no room for another.")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _bounds(self) -> Bounds:
        usable = self.limits.usable_bytes or machine_memory().usable_bytes
        return Bounds(self.limits.max_models, usable)

    # -- unloading --------------------------------------------------------------------------------

    async def _remove(self, place: Place, error: EngineError | None = None) -> None:
        if self._places.get(place.spec.key) is place:
            del self._places[place.spec.key]
        place.line.close(error or ModelUnloaded())
        if place.loading and not place.loading.done():
            place.loading.cancel()
            await asyncio.wait({place.loading})
        if place.worker is not None:
            await place.worker.stop(error)
        self._changed.set()

    def _on_exit(self, worker: Worker) -> None:
        """A worker ended. Its place stays for those who wait: the next request starts another."""
        self._changed.set()
        place = self._places.get(worker.spec.key)
        if place is not None and place.worker is worker:
            log.warning("the process of %s ended", worker.spec.name)
            place.worker = None
            self._drop_if_dead(place)

    def _drop_if_dead(self, place: Place) -> None:
        loads = place.loading is not None and not place.loading.done()
        is_dead = place.worker is None and not place.in_flight and not loads
        if is_dead and self._places.get(place.spec.key) is place:
            del self._places[place.spec.key]

    async def _sweep(self) -> None:
        """Unload models that nobody used for their keep-alive time."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for place in self._places.values():
                if place.worker is not None:
                    place.worker.watch_streams(ALIVE_SECONDS)
            for place in list(self._places.values()):
                if self._is_due(place):
                    log.info("unloading %s: idle", place.spec.name)
                    await self._remove(place)

    def _is_due(self, place: Place) -> bool:
        keep = place.spec.keep_alive_seconds
        if keep is None:
            keep = self.limits.idle_seconds if self.limits.auto_unload else -1
        if keep < 0 or not place.slot().may_go or place.worker is None:
            return False
        return time.monotonic() - place.last_used > keep


def refusal(name: str, decision: Refuse, max_models: int) -> str:
    if not decision.usable and max_models:
        return f"“{name}” cannot be loaded: pinned models take every place. Unpin one first."
    return (
        f"Insufficient memory - “{name}” requires {decision.needed / GIB:.1f} GB but you have"
        f" {decision.usable / GIB:.1f} GB for models. Choose a smaller model or a stronger"
        " quantisation, or unpin a model."
    )


def with_options(spec: ModelSpec, given: LoadOptions) -> ModelSpec:
    """The model's own options, and the pool's for what it leaves open."""
    chosen = {**msgspec.to_builtins(given), **msgspec.to_builtins(spec.options)}
    if folder := chosen.get("prompt_cache_folder"):
        # One folder a worker: entries of another model in it would be put aside as foreign.
        name = hashlib.sha256(spec.key.encode()).hexdigest()[:16]
        chosen["prompt_cache_folder"] = str(Path(folder) / name)
    return structs.replace(spec, options=LoadOptions(**chosen))


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:100] or "model"


def _see_exception(load: asyncio.Task[Worker]) -> None:
    """Those who wait for a load are told; it is no fault when nobody does any more."""
    if not load.cancelled():
        load.exception()
