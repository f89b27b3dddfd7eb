"""The options a worker is started with, and its share of the memory."""

import hashlib
from pathlib import Path

import msgspec
from msgspec import structs

from mlxgui.engine.spec import LoadOptions, ModelSpec


def with_options(spec: ModelSpec, given: LoadOptions) -> ModelSpec:
    """The model's own options, and the pool's for what it leaves open."""
    own = {name: getattr(spec.options, name) for name in spec.chosen}
    own |= msgspec.to_builtins(spec.options)
    chosen = {**msgspec.to_builtins(given), **own}
    # What was set for all models must not keep one from being loaded.
    chosen["kv_if_possible"] = "kv_bits" in chosen and "kv_bits" not in own
    if folder := chosen.get("prompt_cache_folder"):
        # One folder a worker: entries of another model in it would be put aside as foreign.
        name = hashlib.sha256(spec.key.encode()).hexdigest()[:16]
        chosen["prompt_cache_folder"] = str(Path(folder) / name)
    if given.trust_remote_code:
        chosen["trust_remote_code"] = True
    return structs.replace(spec, options=LoadOptions(**chosen))


def differ(wanted: LoadOptions, current: LoadOptions) -> bool:
    """Whether a worker would have to be loaded anew to run with these."""
    # These two change while it runs, or do not matter once it is loaded.
    same = {"warm_prompts": current.warm_prompts, "memory_bytes": current.memory_bytes}
    return structs.replace(wanted, **same) != current


def allowances(needed: dict[str, int], usable_bytes: int) -> dict[str, int]:
    """What each loaded model may take: its plan, and an even part of what is left of the machine.

    So no two of them together grow beyond it, whichever has the long conversations. Bytes.
    """
    if not needed:
        return {}
    spare = max(0, usable_bytes - sum(needed.values())) // len(needed)
    return {key: size + spare for key, size in needed.items()}
