"""How much memory the machine has. What a model takes of it is said in plan.py.

A Mac shares its memory between processor and GPU; that, and Metal's working-set limit, is the only
thing that differs by machine: see `machine_memory`.
"""

import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import psutil
from msgspec import Struct

GIB = 1 << 30
MIB = 1 << 20
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
