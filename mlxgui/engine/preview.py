"""Whether a model fits now, what must go for it, and in which words that is said. Pure."""

from typing import Literal

from msgspec import Struct

from mlxgui.engine.memory import GIB, MIB
from mlxgui.engine.plan import Plan, largest_context, plan_of
from mlxgui.engine.policy import Bounds, Decision, Refuse, Room, Slot, make_room
from mlxgui.engine.spec import ModelSpec

SMALLEST_CONTEXT_TOKENS = 512
"""With less than that a model is of no use."""

Fits = Literal["yes", "warning", "no"]
Reason = Literal["", "context", "programs"]
"""Of a warning: it fits only with a shorter context, or other programs hold the memory now."""


class Preview(Struct, frozen=True, kw_only=True):
    """What loading a model would mean now. `evict` are names; sizes in bytes."""

    plan: Plan
    fits: Fits
    reason: Reason = ""
    message: str
    evict: list[str] = []
    usable_bytes: int = 0
    """For all models together, without what jobs have reserved."""
    reserved_bytes: int = 0
    available_bytes: int = 0
    """Free on the machine now."""
    largest_context_tokens: int = 0
    """The longest text with this model loaded; 0 = none of use."""


class Resources(Struct, frozen=True, kw_only=True):
    """What there is for models, in bytes."""

    bounds: Bounds
    available_bytes: int
    """Free on the machine now, whoever may take it."""
    on_processor: bool = False
    """No GPU: attention scores are computed in full."""


def preview(spec: ModelSpec, others: dict[str, Slot], machine: Resources) -> Preview:
    """Args:
    spec: with the options it would be loaded with.
    others: what is loaded, by name.
    """
    slots, bounds = list(others.values()), machine.bounds
    usable = max(0, bounds.usable_bytes - bounds.reserved_bytes)
    room = usable - sum(slot.memory_bytes for slot in slots if slot.pinned)
    largest = largest_context(spec, room, on_processor=machine.on_processor)
    plan = plan_of(spec, on_processor=machine.on_processor)
    decision = make_room(plan.needed_bytes, slots, bounds)
    if isinstance(decision, Refuse) and SMALLEST_CONTEXT_TOKENS <= largest < plan.context_tokens:
        plan = plan_of(spec, context_tokens=largest, on_processor=machine.on_processor)
        decision = make_room(plan.needed_bytes, slots, bounds)
        fits: Fits = "warning"
        reason: Reason = "context"
        message = _shorter(spec.name, largest, room)
    else:
        fits, reason, message = _verdict(spec.name, plan, decision, others, machine)
    return Preview(
        plan=plan,
        fits=fits,
        reason=reason,
        message=message,
        evict=_names(decision, others),
        usable_bytes=usable,
        reserved_bytes=bounds.reserved_bytes,
        available_bytes=machine.available_bytes,
        largest_context_tokens=largest,
    )


def _verdict(
    name: str, plan: Plan, decision: Decision, others: dict[str, Slot], machine: Resources
) -> tuple[Fits, Reason, str]:
    if isinstance(decision, Refuse):
        return "no", "", refusal(name, decision, machine.bounds.max_models)
    evict = _names(decision, others)
    free = machine.available_bytes + sum(others[other].memory_bytes for other in evict)
    least = plan.weights_bytes + plan.process_bytes
    if free < least:
        return "warning", "programs", _others_hold_it(name, least, free)
    if not isinstance(decision, Room):
        return "yes", "", "It fits once models that answer now have finished."
    if evict:
        which = " and ".join(f"“{other}”" for other in evict)
        return "yes", "", f"It fits once {which} {'is' if len(evict) == 1 else 'are'} unloaded."
    return "yes", "", f"It fits: it takes {_size(plan.needed_bytes)}."


def _shorter(name: str, largest: int, room: int) -> str:
    return (
        f"“{name}” fits into {_size(room)} only with texts of up to {largest:,} tokens."
        " Load it anyway for short conversations, unpin a model, or choose a smaller one."
    )


def _others_hold_it(name: str, least: int, free: int) -> str:
    needs, left = _apart(least, free)
    return (
        f"“{name}” needs {needs}, but other programs leave {left} free now. Close"
        " some of them, or load it anyway: the machine may become slow."
    )


def _names(decision: Decision, others: dict[str, Slot]) -> list[str]:
    keys = decision.evict if isinstance(decision, Room) else ()
    by_key = {slot.key: name for name, slot in others.items()}
    return [by_key[key] for key in keys]


def refusal(name: str, decision: Refuse, max_models: int) -> str:
    if not decision.usable and max_models:
        return f"“{name}” cannot be loaded: pinned models take every place. Unpin one first."
    needed, usable = _apart(decision.needed, decision.usable)
    return (
        f"Insufficient memory - “{name}” requires {needed} but you have {usable} for models."
        " Choose a smaller model or a stronger quantisation, or unpin a model."
    )


def _size(size_bytes: int, digits: int = 1) -> str:
    if 0 < size_bytes < GIB:
        return f"{size_bytes / MIB:.{digits - 1}f} MB"
    return f"{max(0, size_bytes) / GIB:.{digits}f} GB"


def _apart(first_bytes: int, second_bytes: int) -> tuple[str, str]:
    """Both, with as many digits as tell them apart."""
    for digits in (1, 2, 3):
        first, second = _size(first_bytes, digits), _size(second_bytes, digits)
        if first != second:
            break
    return first, second
