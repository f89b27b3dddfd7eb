"""How busy processor and graphics are, in percent."""

import platform
import re
import subprocess

import psutil

UTILISATION = re.compile(rb'"Device Utilization %"=(\d+)')


def cpu_percent() -> float:
    """Of all cores together, since this was last asked."""
    return float(psutil.cpu_percent(None))


def gpu_percent() -> float | None:
    """Of a Mac's graphics; None where the machine does not tell without special rights."""
    if platform.system() != "Darwin":
        return None
    try:
        done = subprocess.run(
            ["/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"],
            capture_output=True,
            timeout=1,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read_utilisation(done.stdout)


def read_utilisation(listing: bytes) -> float | None:
    """Source: the PerformanceStatistics of IOAccelerator, as ioreg prints them."""
    found = [int(number) for number in UTILISATION.findall(listing)]
    return float(max(found)) if found else None
