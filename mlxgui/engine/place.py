"""One model's place in the pool: its worker, its waiting line, its times."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from mlxgui.engine.line import Line
from mlxgui.engine.plan import MIB, Plan
from mlxgui.engine.policy import Slot
from mlxgui.engine.preview import Reason
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
    plan: Plan = Plan()
    measured_peak_bytes: int = 0
    """The most that its process had at once; 0 = not measured yet."""
    kept_bytes: int = 0
    """Of prompts in its prompt cache, when it was measured."""
    allowance_bytes: int = 0
    """What it may take now: its plan, and an even part of what is left of the machine."""
    queue_position: int = 0
    """Among the models that wait to be loaded, 1 = next; 0 = it does not wait."""
    loaded_bytes: int = 0
    total_bytes: int = 0
    """Of its weights: how much is read, and how much there is."""
    idle_left_seconds: float | None = None
    """Until it is unloaded for idleness; None = it is not due."""

    @property
    def plan_error(self) -> float | None:
        """Measured peak against the plan and the prompts kept: 0.1 = a tenth more than planned."""
        return error_of(self.plan, self.measured_peak_bytes, self.kept_bytes)

    @property
    def error_percent(self) -> int | None:
        return None if self.plan_error is None else round(100 * self.plan_error)


def error_of(plan: Plan, measured_bytes: int, kept_bytes: int) -> float | None:
    """None: nothing was measured, or there is no plan in parts."""
    if not measured_bytes or not plan.process_bytes:
        return None
    return measured_bytes / (plan.needed_bytes + kept_bytes) - 1


class Place:
    """One model's place in the pool: its worker, its line, its times."""

    def __init__(self, spec: ModelSpec, limits: Limits) -> None:
        self.spec = spec
        self.plan = Plan(weights_bytes=spec.memory_bytes)
        self.accepts: set[Reason] = set()
        """Reasons for a warning that a caller was told of, and wants it loaded nevertheless."""
        self.keep_seconds: float | None = None
        """As the last request wished that named a time; None = as the model says."""
        self.measured_peak_bytes = 0
        self.measured_at = 0.0
        self.kept_bytes = 0
        self.allowance_bytes = 0
        self.load_priority = 0
        self.expected = 0
        """Callers that wait for its load."""
        self.worker: Worker | None = None
        self.loading: asyncio.Task[Worker] | None = None
        self.line = Line(limits.max_requests, limits.max_waiting)
        self.loaded_at: datetime | None = None
        self.last_used_at: datetime | None = None
        self.last_used = time.monotonic()

    def touch(self) -> None:
        self.last_used = time.monotonic()
        self.last_used_at = datetime.now(UTC)

    def note(self, stats: dict[str, Any]) -> None:
        """What the worker said of itself."""
        self.measured_peak_bytes = int(stats.get("peak_process_bytes") or 0)
        self.kept_bytes = int(stats.get("prompt_cache", {}).get("memory", {}).get("bytes", 0))

    def plan_in_words(self) -> str:
        """For the log: what was planned and what it took; empty where nothing was measured."""
        error = error_of(self.plan, self.measured_peak_bytes, self.kept_bytes)
        if error is None:
            return ""
        took, planned = self.measured_peak_bytes // MIB, self.plan.needed_bytes // MIB
        prompts = self.kept_bytes // MIB
        kept = f" and {prompts:,} MiB of kept prompts" if prompts else ""
        return (
            f"{self.spec.name} took {took:,} MiB at most, with {planned:,} MiB{kept} planned:"
            f" {100 * error:+.0f} %"
        )

    @property
    def in_flight(self) -> int:
        return self.line.running + self.line.waiting

    def slot(self) -> Slot:
        # A model that is still loading counts as in use: its callers wait for it.
        busy = self.in_flight + (self.worker is None or self.worker.state == "starting")
        needed = self.plan.needed_bytes
        return Slot(self.spec.key, needed, self.last_used, busy, self.spec.pinned)

    def idle_left_seconds(self, limits: Limits) -> float | None:
        """Until it may be unloaded for idleness, negative when it is overdue; None = it stays."""
        keep = self.keep_seconds
        if keep is None:
            keep = self.spec.keep_alive_seconds
        if keep is None:
            keep = limits.idle_seconds if limits.auto_unload else -1
        if keep < 0 or not self.slot().may_go or self.worker is None:
            return None
        return keep - (time.monotonic() - self.last_used)

    def resident(self, limits: Limits, queue_position: int) -> Resident:
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
            memory_bytes=self.plan.needed_bytes,
            in_flight=self.line.running,
            waiting=self.line.waiting,
            pid=worker.pid if worker else 0,
            facts=worker.facts if worker else {},
            plan=self.plan,
            measured_peak_bytes=self.measured_peak_bytes,
            kept_bytes=self.kept_bytes,
            allowance_bytes=self.allowance_bytes,
            queue_position=queue_position,
            loaded_bytes=int(worker.progress * self.plan.weights_bytes) if worker else 0,
            total_bytes=self.plan.weights_bytes,
            idle_left_seconds=self.idle_left_seconds(limits),
        )
