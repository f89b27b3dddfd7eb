"""mlx's own bounds in a worker: how much it takes, how much it keeps of what is freed, how much it
wires. Set from the plan."""

from types import SimpleNamespace
from typing import Any

import mlx.core as mx

from mlxgui.engine.memory import MIB
from mlxgui.engine.plan import plan_of
from mlxgui.engine.spec import ModelSpec

BUFFER_CACHE_SHARE = 0.25
MIN_BUFFER_CACHE_BYTES, MAX_BUFFER_CACHE_BYTES = 128 * MIB, 2048 * MIB
MLX = SimpleNamespace(
    set_memory_limit=mx.set_memory_limit,
    set_cache_limit=mx.set_cache_limit,
    set_wired_limit=mx.set_wired_limit,  # libraries find another one there (device.py)
    device_info=mx.device_info,
)


def set_limits(
    arrays_bytes: int, weights_bytes: int, *, wires: bool = False, to: Any = MLX
) -> None:
    """Beyond the first bound mlx waits for what it computes before it takes more; freed buffers are
    kept for reuse up to the second, by default up to nearly all memory.

    Args:
        arrays_bytes: for weights, rows, a prefill chunk and kept prompts; 0 = as mlx has it.
        wires: whether macOS is to keep them wired, which is off unless a person switched it on.
        to: has `set_memory_limit`, `set_cache_limit`, `set_wired_limit` and `device_info`.
    """
    share = int(weights_bytes * BUFFER_CACHE_SHARE)
    buffers = min(MAX_BUFFER_CACHE_BYTES, max(MIN_BUFFER_CACHE_BYTES, share))
    if arrays_bytes:
        to.set_memory_limit(max(arrays_bytes, weights_bytes + MIN_BUFFER_CACHE_BYTES))
        spare = max(0, arrays_bytes - weights_bytes)
        buffers = min(buffers, max(MIN_BUFFER_CACHE_BYTES, spare // 2))
    to.set_cache_limit(buffers)
    if wires:
        # Only a Mac's GPU names it; mlx refuses more.
        most = to.device_info().get("max_recommended_working_set_size")
        if most:
            to.set_wired_limit(min(most, arrays_bytes or most))


def keep_to(spec: ModelSpec, memory_bytes: int) -> None:
    """The bounds of a worker that may take so much and keeps no prompts; 0 = no bound."""
    arrays = max(1, memory_bytes - plan_of(spec).process_bytes) if memory_bytes else 0
    set_limits(arrays, int(mx.get_active_memory()), wires=spec.options.raise_wired_limit)
