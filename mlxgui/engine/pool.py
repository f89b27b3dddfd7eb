"""The models that are loaded: who may run now, who waits, who must go.

Callers that arrive together share one load. One model is loaded at a time; loads wait in
line by priority. Everything here runs on one event loop, so there are no locks beside that line.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any

from mlxgui.engine.deadline import deadline_after, within
from mlxgui.engine.errors import EngineError, ModelUnloaded, ShuttingDown
from mlxgui.engine.loader import ANSWER_SECONDS, Loader
from mlxgui.engine.options import differ, with_options
from mlxgui.engine.place import Limits, Place, Resident
from mlxgui.engine.preview import Preview, Reason
from mlxgui.engine.process import Worker
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Event, Request

log = logging.getLogger("mlxgui.pool")
plans = logging.getLogger("mlxgui.server.plans")
"""Below the logger that writes to the file only: nobody waits for this at the terminal."""

SWEEP_SECONDS = 1.0
ALIVE_SECONDS = 10.0
"""A stream that had nothing for so long says so: clients time out on silence."""
MEASURE_SECONDS = 30.0
"""Workers are asked so often how much memory they have taken."""

LAST_LOOK_SECONDS = 0.5
"""Nobody waits longer for a model to leave because it is asked what it took."""

__all__ = ["Limits", "ModelPool", "Resident"]


class ModelPool:
    """Args:
    logs: folder for the workers' logs.
    scratch: private folder for compiled kernels.
    """

    def __init__(self, *, logs: Path, scratch: Path, limits: Limits | None = None) -> None:
        self.on_load: Callable[[ModelSpec, EngineError | None], None] = lambda spec, error: None
        """Told how each load ended, so that somebody can write it down."""
        self._places: dict[str, Place] = {}
        self._loader = Loader(
            self._places,
            logs=logs,
            scratch=scratch,
            unload=self._remove,
            on_exit=self._on_exit,
            on_load=lambda spec, error: self.on_load(spec, error),
        )
        self._changed = self._loader.changed
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.failures = self._loader.failures
        self.apply(limits or Limits())

    # -- what callers do --------------------------------------------------------------------------

    async def generate(self, spec: ModelSpec, request: Request) -> AsyncGenerator[Event]:
        """Events from `Started` to `Done`; loads the model first where needed.

        Closing the iterator early cancels the request. Raises EngineError: before the first event
        for all that can be known then, later only when the worker dies or time is up.
        """
        deadline = deadline_after(request.timeout_seconds or self.limits.request_seconds)
        place = await within(deadline, self._ready(spec, request.priority, {"programs"}))
        if request.keep_alive_seconds is not None:
            place.keep_seconds = request.keep_alive_seconds
        try:
            await within(deadline, place.line.enter(request.priority))
            try:
                worker = await within(deadline, self._loader.worker(place, request.priority))
                async with contextlib.aclosing(worker.generate(request, deadline)) as stream:
                    async for event in stream:
                        yield event
            finally:
                place.line.leave()
        finally:
            place.touch()
            self._drop_if_dead(place)
            self._changed.set()
            if place.keep_seconds == 0:
                self._spawn(self._unload_if_due(place))

    async def load(self, spec: ModelSpec, priority: int = 0, force: bool = False) -> None:
        """Returns when the model is ready. Raises LoadFailed, NotEnoughMemory, QueueFull.

        `force` loads it in spite of a warning (see `preview`); what cannot fit is refused still.
        """
        await self._ready(spec, priority, {"programs", "context"} if force else set())

    def keep(self, spec: ModelSpec, seconds: float) -> None:
        """How long a loaded model may be idle from now on; negative = for ever."""
        if (place := self._places.get(spec.key)) is not None:
            place.keep_seconds = seconds

    def preview(self, spec: ModelSpec) -> Preview:
        """What loading this model would mean now: its plan, whether it fits, what would leave."""
        return self._loader.preview(spec)

    def set_priority(self, key: str, priority: int) -> bool:
        """Move a model among those that wait to be loaded. False: it does not wait."""
        if (place := self._places.get(key)) is not None:
            place.load_priority = priority
        return self._loader.line.reprioritise(key, priority)

    def reserve(self, size_bytes: int) -> None:
        """Memory that running jobs take, which is not for models. Replaces what was reserved."""
        if size_bytes != self._loader.reserved_bytes:
            self._loader.reserved_bytes = size_bytes
            self._loader.share_memory()
            self._changed.set()

    async def unload(self, name_or_key: str) -> bool:
        """End the model's worker at once; its streams end with ModelUnloaded. False: not loaded."""
        found = [p for p in self._places.values() if name_or_key in (p.spec.name, p.spec.key)]
        for place in found:
            await self._remove(place)
        return bool(found)

    async def call(self, spec: ModelSpec, name: str, **arguments: Any) -> Any:
        """Ask a model's backend, loading it where needed."""
        place = await self._ready(spec, 0, {"programs"})
        worker = await self._loader.worker(place, 0)
        return await worker.call(name, **arguments)

    async def ask(self, key: str, name: str, **arguments: Any) -> Any:
        """Ask a model that is loaded; never loads one. Raises ModelUnloaded where it is not."""
        place = self._places.get(key)
        if place is None or place.worker is None:
            raise ModelUnloaded("The model is not loaded.")
        answer = await place.worker.call(name, **arguments)
        if name == "stats":
            place.note(answer)
        return answer

    @property
    def is_alive(self) -> bool:
        """Whether it can load, time out and unload: not closed, and its watch goes on."""
        return not self._closing and (self._sweeper is None or not self._sweeper.done())

    def residents(self) -> list[Resident]:
        line, limits = self._loader.line, self.limits
        return [place.resident(limits, line.position(key)) for key, place in self._places.items()]

    def renew(self, spec: ModelSpec) -> bool:
        """Take over what holds at once for a loaded model (pin, keep-alive). True: its worker runs
        with other options than these, until it is loaded anew."""
        place = self._places.get(spec.key)
        if place is None or place.worker is None:
            return False
        place.spec = spec
        wanted = with_options(spec, self.limits.options).options
        return differ(wanted, place.worker.spec.options)

    def apply(self, limits: Limits) -> None:
        """New limits, for what runs now too."""
        self.limits = self._loader.limits = limits
        for place in self._places.values():
            place.line.resize(limits.max_requests, limits.max_waiting)
        self._loader.share_memory()
        self._changed.set()

    async def close(self) -> None:
        """End every worker; what runs gets ShuttingDown."""
        self._closing = True
        if self._sweeper:
            self._sweeper.cancel()
        places = list(self._places.values())
        await asyncio.gather(*(self._remove(place, ShuttingDown()) for place in places))
        # What was being unloaded already is no place any more, but its process may still be there.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ready(self, spec: ModelSpec, priority: int, accepts: set[Reason]) -> Place:
        if self._closing:
            raise ShuttingDown()
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        place = self._places.get(spec.key)
        if place is None:
            place = self._places[spec.key] = Place(spec, self.limits)
        place.spec = spec
        place.accepts |= accepts
        await self._loader.worker(place, priority)
        return place

    # -- unloading --------------------------------------------------------------------------------

    async def _remove(self, place: Place, error: EngineError | None = None) -> None:
        if self._places.get(place.spec.key) is place:
            del self._places[place.spec.key]
        place.line.close(error or ModelUnloaded())
        if place.loading and not place.loading.done():
            place.loading.cancel()
            await asyncio.wait({place.loading})
        if place.worker is not None:
            if error is None and place.worker.state == "ready" and not place.in_flight:
                await self._record(place)
            await place.worker.stop(error)
        if not self._closing:
            self._loader.share_memory()
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
        """Unload what nobody used for its keep-alive time; look how large the others are."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for place in list(self._places.values()):
                try:
                    await self._look_after(place)
                except Exception:  # one model's trouble must not end the watch over the others
                    log.exception("looking after %s failed", place.spec.name)

    async def _look_after(self, place: Place) -> None:
        if place.worker is not None and place.worker.state == "ready":
            place.worker.watch_streams(ALIVE_SECONDS)
            if time.monotonic() - place.measured_at > MEASURE_SECONDS:
                place.measured_at = time.monotonic()
                self._spawn(self._measure(place))
        await self._unload_if_due(place)

    async def _unload_if_due(self, place: Place) -> None:
        left = place.idle_left_seconds(self.limits)
        if left is not None and left <= 0 and self._places.get(place.spec.key) is place:
            log.info("unloading %s: idle", place.spec.name)
            await self._remove(place)

    async def _measure(self, place: Place) -> None:
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.ask(place.spec.key, "stats")

    async def _record(self, place: Place) -> None:
        """Into the log, how far the plan was from what the process took; it is about to end."""
        assert place.worker is not None
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                place.note(await place.worker.call("stats"))
        if (line := place.plan_in_words()) and not self._closing:
            plans.info("%s", line)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
