"""What a worker does when nobody asks: give memory back, and only then write prompts to the disk.

The next turn of a conversation often comes at once. It takes the buffers again, would wait for a
writer that needs the processor, and makes what was written of the turn before worthless.
"""

import contextlib
import ctypes
import functools
import time
from collections.abc import Callable

import mlx.core as mx

BUFFERS_SECONDS = 0.2
DISK_SECONDS = 3.0


class Rest:
    """
    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._holds_buffers = True

    def is_over(self) -> None:
        """Something is asked."""
        self._began, self._holds_buffers = None, True

    def is_short(self) -> bool:
        """Whether what can wait must wait still. Called now and then while nothing is asked."""
        now = self._clock()
        if self._began is None:
            self._began = now
        quiet = now - self._began
        if self._holds_buffers and quiet >= BUFFERS_SECONDS:
            self._holds_buffers = False
            give_back()
        return quiet < DISK_SECONDS


def give_back() -> None:
    """Buffers that mlx keeps for reuse, and freed memory that the C library keeps."""
    mx.clear_cache()
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], int]:
    """glibc's malloc_trim(3), which keeps what is freed between pieces in use; other C libraries
    have none and need none."""
    with contextlib.suppress(AttributeError, OSError):
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
        return trim
    return lambda pad: 0
