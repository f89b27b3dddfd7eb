"""One model's place in the pool: its worker, its waiting line, its times."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from mlxgui.engine.line import Line
from mlxgui.engine.policy import Slot
from mlxgui.engine.process import Worker
from mlxgui.engine.spec import LoadOptions, ModelSpec


class Limits(Struct, frozen=True, kw_only=True):
    """What a person can set. `usable_bytes` 0 = as the machine allows."""

    max_models: int = 3
    max_requests: int = 5
    """Side by side in one model; further ones wait in line."""
    max_waiting: int = 64
    idle_seconds: float = 1800.0
    auto_unload: bool = True
    request_seconds: float = 0.0
    """For requests that name no time limit of their own; 0 = no bound."""
    usable_bytes: int = 0
    options: LoadOptions = LoadOptions()
    """For models that name no others."""
    wait_for_room_seconds: float = 60.0


class Resident(Struct, frozen=True, kw_only=True):
    """One model as a page or an API may show it."""

    name: str
    key: str
    path: str
    kind: str
    adapter_path: str
    state: Literal["loading", "ready", "stopping"]
    progress: float
    loaded_at: datetime | None
    last_used_at: datetime | None
    memory_bytes: int
    in_flight: int
    waiting: int
    pid: int
    facts: dict[str, Any]


class Place:
    """One model's place in the pool: its worker, its line, its times."""

    def __init__(self, spec: ModelSpec, limits: Limits) -> None:
        self.spec = spec
        self.worker: Worker | None = None
        self.loading: asyncio.Task[Worker] | None = None
        self.line = Line(limits.max_requests, limits.max_waiting)
        self.loaded_at: datetime | None = None
        self.last_used_at: datetime | None = None
        self.last_used = time.monotonic()

    def touch(self) -> None:
        self.last_used = time.monotonic()
        self.last_used_at = datetime.now(UTC)

    @property
    def in_flight(self) -> int:
        return self.line.running + self.line.waiting

    def slot(self) -> Slot:
        # A model that is still loading counts as in use: its callers wait for it.
        busy = self.in_flight + (self.worker is None or self.worker.state == "starting")
        return Slot(self.spec.key, self.spec.memory_bytes, self.last_used, busy, self.spec.pinned)

    def resident(self) -> Resident:
        worker = self.worker
        ready = worker is not None and worker.state == "ready"
        stopping = worker is not None and worker.state in ("stopping", "stopped")
        return Resident(
            name=self.spec.name,
            key=self.spec.key,
            path=self.spec.path,
            kind=self.spec.kind,
            adapter_path=self.spec.adapter_path,
            state="ready" if ready else "stopping" if stopping else "loading",
            progress=worker.progress if worker else 0.0,
            loaded_at=self.loaded_at,
            last_used_at=self.last_used_at,
            memory_bytes=self.spec.memory_bytes,
            in_flight=self.line.running,
            waiting=self.line.waiting,
            pid=worker.pid if worker else 0,
            facts=worker.facts if worker else {},
        )
