"""How much memory this process has taken at most. No mlx; the two systems tell it differently."""

import platform
from pathlib import Path

STATUS = Path("/proc/self/status")


def base_bytes() -> int:
    """What the process has before it reads a model; 0 where `peak_bytes` does not ask for it."""
    if platform.system() == "Linux":
        return 0
    import psutil  # a worker starts faster without it

    return int(psutil.Process().memory_info().rss)


def peak_bytes(base: int, arrays_peak: int) -> int:
    """The most that this process had at once, in bytes.

    Args:
        base: of `base_bytes`, before the model was read.
        arrays_peak: the most that mlx had in arrays. A Mac's resident size leaves out some of what
            Metal holds, so there the two are added; Linux keeps count itself.
    """
    return base + arrays_peak if base else _high_water_bytes()


def _high_water_bytes() -> int:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0
