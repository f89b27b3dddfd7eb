"""The models in memory as the System page shows them."""

from msgspec import Struct

from mlxgui.engine.place import Resident
from mlxgui.engine.plan import Plan
from mlxgui.system.samples import Sample


class Loaded(Struct, frozen=True, kw_only=True):
    """Sizes in bytes. `measured_bytes` 0 = not measured yet."""

    key: str
    name: str
    kind: str
    state: str
    percent: int
    planned_bytes: int
    measured_bytes: int
    peak_bytes: int
    plan: Plan
    error_percent: int | None
    """The measured peak against the plan; None = not measured yet."""
    in_flight: int
    waiting: int
    queue_position: int
    """Among the models that wait to be loaded; 0 = it does not wait."""
    idle_left_seconds: float | None
    """Until it is unloaded for idleness; None = it is not due."""

    @property
    def is_over_plan(self) -> bool:
        return self.error_percent is not None and self.error_percent > 10


def loaded(residents: list[Resident], latest: Sample | None) -> list[Loaded]:
    measured = measured_by_name(latest)
    return [describe(one, measured.get(one.name, 0)) for one in residents]


def describe(one: Resident, measured_bytes: int) -> Loaded:
    return Loaded(
        key=one.key,
        name=one.name,
        kind=one.kind,
        state=one.state,
        percent=round(100 * one.progress),
        planned_bytes=one.memory_bytes,
        measured_bytes=measured_bytes,
        peak_bytes=one.measured_peak_bytes,
        plan=one.plan,
        error_percent=one.error_percent,
        in_flight=one.in_flight,
        waiting=one.waiting,
        queue_position=one.queue_position,
        idle_left_seconds=None if one.idle_left_seconds is None else max(0, one.idle_left_seconds),
    )


def measured_by_name(latest: Sample | None) -> dict[str, int]:
    """A model's parts in the last sample, added up."""
    found: dict[str, int] = {}
    base = ""
    for part in latest.parts if latest else []:
        if part.tone.startswith("model"):
            base = part.name if " " not in part.tone else base
            found[base] = found.get(base, 0) + part.size_bytes
    return found
