"""Brings workers up, one at a time, by priority; makes room for them, and shares the memory out."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from mlxgui.engine.errors import (
    EngineError,
    LoadFailed,
    ModelUnloaded,
    NotEnoughMemory,
    QueueFull,
    WorkerDied,
)
from mlxgui.engine.line import Line
from mlxgui.engine.memory import is_apple_silicon, machine_memory
from mlxgui.engine.options import allowances, with_options
from mlxgui.engine.place import Limits, Place
from mlxgui.engine.plan import plan_of
from mlxgui.engine.policy import Bounds, Room, make_room
from mlxgui.engine.preview import Preview, Resources, preview
from mlxgui.engine.process import Worker
from mlxgui.engine.spec import ModelSpec

log = logging.getLogger("mlxgui.pool")

MOST_WAITING_LOADS = 1 << 16
ANSWER_SECONDS = 30.0
"""For a worker's answer to what nobody waits for; one in a long prefill is slow to answer."""

OnLoad = Callable[[ModelSpec, EngineError | None], None]


class Loader:
    """Args:
    places: the pool's own, by key.
    unload: ends a place's worker and takes the place out.
    on_exit: told when a worker ended.
    on_load: told how each load ended.
    """

    def __init__(
        self,
        places: dict[str, Place],
        *,
        logs: Path,
        scratch: Path,
        unload: Callable[[Place], Awaitable[None]],
        on_exit: Callable[[Worker], None],
        on_load: OnLoad,
    ) -> None:
        self.limits = Limits()
        self.reserved_bytes = 0
        self.failures: dict[str, str] = {}
        self.line = Line(1, MOST_WAITING_LOADS)
        self.changed = asyncio.Event()
        """Set whenever something left, or became idle: there may be room now."""
        self._places = places
        self._logs = logs
        self._scratch = scratch
        self._unload = unload
        self._on_exit = on_exit
        self._on_load = on_load
        self._told: set[asyncio.Task[None]] = set()

    # -- loading ----------------------------------------------------------------------------------

    async def worker(self, place: Place, priority: int) -> Worker:
        """A ready worker; all callers that arrive meanwhile wait for the same load."""
        if place.worker is not None and place.worker.state == "ready":
            place.touch()
            return place.worker
        if self._places.get(place.spec.key) not in (place, None):
            raise ModelUnloaded()
        if place.expected >= self.limits.max_requests + self.limits.max_waiting:
            raise QueueFull()
        if place.loading is None or place.loading.done():
            place.loading = asyncio.create_task(self._load(place, priority))
            place.loading.add_done_callback(_see_exception)
        elif priority > place.load_priority:
            place.load_priority = priority
            self.line.reprioritise(place.spec.key, priority)
        place.expected += 1
        try:
            # Shielded: one caller that goes away must not end the load for the others.
            return await asyncio.shield(place.loading)
        finally:
            place.expected -= 1

    async def _load(self, place: Place, priority: int) -> Worker:
        self._places[place.spec.key] = place
        place.load_priority = priority
        try:
            await self.line.enter(priority, place.spec.key)
            try:
                await self._make_room(place)
                place.worker = worker = self._new_worker(place)
                await worker.start()
            finally:
                self.line.leave()
        except asyncio.CancelledError:
            raise ModelUnloaded() from None
        except Exception as error:
            self._places.pop(place.spec.key, None)
            failure = error if isinstance(error, EngineError) else LoadFailed(str(error))
            if isinstance(failure, WorkerDied):
                failure = LoadFailed(f"The process of “{place.spec.name}” ended while loading it.")
            self.failures[place.spec.key] = failure.message
            self._on_load(place.spec, failure)
            raise failure from error
        self.failures.pop(place.spec.key, None)
        self._on_load(place.spec, None)
        _replan(place, worker)
        place.loaded_at = datetime.now(UTC)
        place.touch()
        self.share_memory()
        return worker

    def _new_worker(self, place: Place) -> Worker:
        self.share_memory()
        spec = with_options(place.spec, self.limits.options)
        options = structs.replace(spec.options, memory_bytes=place.allowance_bytes)
        return Worker(
            structs.replace(spec, options=options),
            log_path=self._logs / f"{_file_name(place.spec.name)}.log",
            scratch=self._scratch,
            on_exit=self._on_exit,
        )

    # -- room -------------------------------------------------------------------------------------

    def preview(self, spec: ModelSpec) -> Preview:
        """What loading this model would mean now."""
        spec = with_options(spec, self.limits.options)
        others = {
            place.spec.name: place.slot()
            for place in self._places.values()
            if place.worker is not None and place.spec.key != spec.key
        }
        return preview(
            spec,
            others,
            Resources(
                bounds=self.bounds(),
                available_bytes=machine_memory().available_bytes,
                on_processor=_on_processor(spec),
            ),
        )

    def bounds(self) -> Bounds:
        usable = self.limits.usable_bytes or machine_memory().usable_bytes
        return Bounds(self.limits.max_models, usable, self.reserved_bytes)

    async def _make_room(self, place: Place) -> None:
        """Unload what must go, oldest first. Waits for models that answer now, within bounds."""
        until = time.monotonic() + self.limits.wait_for_room_seconds
        while True:
            seen = self.preview(place.spec)
            refused = seen.fits == "warning" and seen.reason not in place.accepts
            if seen.fits == "no" or refused:
                raise NotEnoughMemory(seen.message)
            place.plan = seen.plan
            others = [p.slot() for p in self._places.values() if p is not place and p.worker]
            decision = make_room(seen.plan.needed_bytes, others, self.bounds())
            if isinstance(decision, Room):
                for key in decision.evict:
                    log.info("unloading %s to make room for %s", key, place.spec.name)
                    await self._unload(self._places[key])
                return
            if (left := until - time.monotonic()) <= 0:
                raise QueueFull("All loaded models are busy, and there is no room for another.")
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), left)

    # -- sharing ----------------------------------------------------------------------------------

    def share_memory(self) -> None:
        """Tell each worker what it may take now; called whenever that may have changed."""
        bounds = self.bounds()
        places = [place for place in self._places.values() if place.plan.process_bytes]
        needed = {place.spec.key: place.plan.needed_bytes for place in places}
        shares = allowances(needed, bounds.usable_bytes - bounds.reserved_bytes)
        for place in places:
            share, worker = shares[place.spec.key], place.worker
            if share == place.allowance_bytes or (worker and worker.state == "starting"):
                continue  # one that still loads is told when it is ready
            place.allowance_bytes = share
            if worker is not None:
                task = asyncio.create_task(self._tell(worker, share))
                self._told.add(task)
                task.add_done_callback(self._told.discard)

    async def _tell(self, worker: Worker, share_bytes: int) -> None:
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await worker.call("set_memory", memory_bytes=share_bytes)


def _replan(place: Place, worker: Worker) -> None:
    """KV_BITS are for all models; one that cannot keep to them takes more than was planned."""
    options = worker.spec.options
    if options.kv_bits and worker.facts.get("kv_bits") == 0:
        spec = structs.replace(worker.spec, options=structs.replace(options, kv_bits=0))
        context = place.plan.context_tokens
        place.plan = plan_of(spec, context_tokens=context, on_processor=_on_processor(spec))


def _on_processor(spec: ModelSpec) -> bool:
    return not (spec.options.use_gpu and is_apple_silicon())


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:100] or "model"


def _see_exception(load: asyncio.Task[Worker]) -> None:
    """Those who wait for a load are told; it is no fault when nobody does any more."""
    if not load.cancelled():
        load.exception()
