"""Which models must go so that this one can come. A pure decision: no clock, no process, no log."""

from msgspec import Struct


class Slot(Struct, frozen=True):
    """A model that is loaded or being loaded."""

    key: str
    memory_bytes: int
    last_used: float
    in_flight: int = 0
    pinned: bool = False

    @property
    def may_go(self) -> bool:
        return not self.in_flight and not self.pinned


class Bounds(Struct, frozen=True):
    max_models: int
    usable_bytes: int
    reserved_bytes: int = 0
    """Taken by jobs; not for models."""


class Room(Struct, frozen=True):
    """Unload these, in this order; then it fits."""

    evict: tuple[str, ...] = ()


class Wait(Struct, frozen=True):
    """It would fit once models that answer now have finished."""


class Refuse(Struct, frozen=True):
    """It does not fit whatever is unloaded. Bytes."""

    needed: int
    usable: int


Decision = Room | Wait | Refuse


def make_room(needed_bytes: int, slots: list[Slot], bounds: Bounds) -> Decision:
    """Evict the least recently used first, and no more than needed.

    Pinned models stay. Models with requests in flight are waited for, never cut off.
    """
    usable = bounds.usable_bytes - bounds.reserved_bytes
    pinned = sum(slot.memory_bytes for slot in slots if slot.pinned)
    if needed_bytes > usable - pinned or bounds.max_models < 1:
        return Refuse(needed_bytes, max(0, usable - pinned))
    if sum(slot.pinned for slot in slots) >= bounds.max_models:
        return Refuse(needed_bytes, 0)

    def fits(left: list[Slot]) -> bool:
        taken = sum(slot.memory_bytes for slot in left)
        return len(left) < bounds.max_models and taken + needed_bytes <= usable

    left = list(slots)
    evict: list[str] = []
    for slot in sorted(slots, key=lambda slot: slot.last_used):
        if fits(left):
            break
        if slot.may_go:
            left.remove(slot)
            evict.append(slot.key)
    return Room(tuple(evict)) if fits(left) else Wait()
