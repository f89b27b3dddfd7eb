"""How much memory the machine has and how much a model needs. One arithmetic, used everywhere.

needed = weights + KV cache for its context (up to `PLANNED_CONTEXT_TOKENS`) + what the process and
a prefill chunk take beside. A Mac shares its memory between processor and GPU; that, and Metal's
working-set limit, is the only thing here that differs by machine: see `machine_memory`.
"""

import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from msgspec import Struct

GIB = 1 << 30
MIB = 1 << 20
PROCESS_BYTES = 300 * MIB
"""A worker with mlx and mlx-lm imported, before any model (measured: 250 MB on Linux)."""
PLANNED_CONTEXT_TOKENS = 8192
"""Few conversations are longer; the KV cache grows beyond only when they are."""
KV_BYTES_PER_NUMBER = 2
TRANSIENT_SHARE = 0.05
"""Activations of a prefill chunk, as a share of the weights."""
SYSTEM_RESERVE_BYTES = 4 * GIB
SMALL_SYSTEM_RESERVE_SHARE = 0.25
METAL_WORKING_SET_SHARE = 0.75
"""Metal's recommended working set is about this share of unified memory unless a person raised
iogpu.wired_limit_mb."""


class Machine(Struct, frozen=True):
    """Bytes. `usable_bytes` is what models and their caches may take together."""

    total_bytes: int
    available_bytes: int
    usable_bytes: int
    unified: bool
    device_name: str


def machine_memory() -> Machine:
    """This machine, now. `available_bytes` changes from call to call."""
    memory = psutil.virtual_memory()
    unified = is_apple_silicon()
    limit = metal_limit_bytes(memory.total, _wired_limit_mib()) if unified else None
    return Machine(
        total_bytes=memory.total,
        available_bytes=memory.available,
        usable_bytes=usable_bytes(memory.total, limit),
        unified=unified,
        device_name=processor_name(),
    )


def usable_bytes(total_bytes: int, metal_limit: int | None) -> int:
    """What is left beside the system: 4 GiB reserved, a quarter on small machines; on a Mac also
    no more than Metal's working set."""
    reserve = min(SYSTEM_RESERVE_BYTES, int(total_bytes * SMALL_SYSTEM_RESERVE_SHARE))
    usable = total_bytes - reserve
    return min(usable, metal_limit) if metal_limit else usable


def metal_limit_bytes(total_bytes: int, wired_limit_mib: int) -> int:
    """Metal's recommended working set, without importing mlx: `iogpu.wired_limit_mb` where a person
    set it (0 = not set), else Apple's default share."""
    return wired_limit_mib * MIB or int(total_bytes * METAL_WORKING_SET_SHARE)


def is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


@lru_cache(maxsize=1)
def _wired_limit_mib() -> int:
    return int(_sysctl("iogpu.wired_limit_mb") or 0)


@lru_cache(maxsize=1)
def processor_name() -> str:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def weights_bytes(folder: Path) -> int:
    """Bytes of the weight files as they lie on disk; links count as what they lead to."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file())


def kv_bytes_per_token(config: dict[str, Any]) -> int:
    """Keys and values of all layers for one token at 16 bits. 0 where the config does not say."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    layers = _number(text, "num_hidden_layers", "n_layer", "n_layers")
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    kv_heads = _number(text, "num_key_value_heads") or heads
    hidden = _number(text, "hidden_size", "n_embd", "d_model")
    head_dim = _number(text, "head_dim") or (hidden // heads if heads else 0)
    latent = _number(text, "kv_lora_rank")  # multi-head latent attention stores one latent a layer
    if latent:
        return layers * (latent + _number(text, "qk_rope_head_dim")) * KV_BYTES_PER_NUMBER
    return layers * kv_heads * head_dim * 2 * KV_BYTES_PER_NUMBER


def _number(config: dict[str, Any], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def needed_bytes(folder: Path, config: dict[str, Any], context_tokens: int) -> int:
    """What a worker with this model takes: weights, KV cache, process, transient."""
    weights = weights_bytes(folder)
    context = min(context_tokens or PLANNED_CONTEXT_TOKENS, PLANNED_CONTEXT_TOKENS)
    return planned_bytes(weights, kv_bytes_per_token(config), context)


def planned_bytes(weights: int, kv_per_token: int, context_tokens: int) -> int:
    return int(weights * (1 + TRANSIENT_SHARE)) + kv_per_token * context_tokens + PROCESS_BYTES
