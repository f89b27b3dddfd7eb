"""What the pool knows about the models of the library, joined with their rows."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from mlxgui.engine.pool import ModelPool, Resident
from models_app.models import Model

Status = Literal["unloaded", "loading", "loaded", "unloading", "failed"]
STATUS_OF: dict[str, Status] = {"loading": "loading", "ready": "loaded", "stopping": "unloading"}


class State(Struct, frozen=True):
    """One model now. `reason` says why it failed."""

    status: Status = "unloaded"
    reason: str = ""
    progress: float = 0.0
    loaded_bytes: int = 0
    total_bytes: int = 0
    queue_position: int = 0
    """Among the models that wait to be loaded; 0 = it does not wait."""
    in_flight: int = 0
    waiting: int = 0
    memory_bytes: int = 0
    """As planned."""
    peak_bytes: int = 0
    """The most that its process had at once; 0 = not measured yet."""
    error_percent: int | None = None
    """That peak against the plan and the prompts kept."""
    kv_note: str = ""
    """Why its KV cache is not quantised though KV_BITS says so."""
    loaded_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def is_loaded(self) -> bool:
        return self.status == "loaded"

    @property
    def is_moving(self) -> bool:
        return self.status in ("loading", "unloading")

    @property
    def percent(self) -> int:
        return round(100 * self.progress)

    @property
    def idle_minutes(self) -> int | None:
        """Whole minutes since the last request; None while one runs, or when there was none."""
        since = self.last_used_at or self.loaded_at
        if not self.is_loaded or self.in_flight or since is None:
            return None
        return int((datetime.now(UTC) - since) / timedelta(minutes=1))


class Listed(Struct, frozen=True):
    """A row together with its state."""

    model: Model
    state: State


def state_of(model: Model, resident: Resident | None, failure: str = "") -> State:
    if resident is not None:
        return State(
            status=STATUS_OF[resident.state],
            progress=resident.progress,
            loaded_bytes=resident.loaded_bytes,
            total_bytes=resident.total_bytes,
            queue_position=resident.queue_position,
            in_flight=resident.in_flight,
            waiting=resident.waiting,
            memory_bytes=resident.memory_bytes,
            peak_bytes=resident.measured_peak_bytes,
            error_percent=resident.error_percent,
            kv_note=str(resident.facts.get("kv_note") or ""),
            loaded_at=resident.loaded_at,
            last_used_at=resident.last_used_at,
        )
    if reason := model.error_message or failure or model.load_error:
        return State(status="failed", reason=reason)
    return State()


def join(models: Iterable[Model], pool: ModelPool) -> list[Listed]:
    """Each row with its state, in the order given. No query beyond that of `models`."""
    residents = {resident.key: resident for resident in pool.residents()}
    return [
        Listed(model, state_of(model, residents.get(model.key), pool.failures.get(model.key, "")))
        for model in models
    ]


def listed(model: Model, pool: ModelPool) -> Listed:
    return join([model], pool)[0]


def digest(models: Iterable[Listed], *more: object) -> str:
    """Changes when a page that shows these models, and what else is named, would look different."""
    shown = [
        (one.model.pk, one.model.updated_at, one.state, one.state.idle_minutes) for one in models
    ]
    return hashlib.sha256(repr((shown, more)).encode()).hexdigest()[:16]
