"""What a worker holds and does not need goes back to the system as soon as nobody asks."""

import contextlib
import ctypes
import functools
from collections.abc import Callable

import mlx.core as mx


class Rest:
    """Between two requests of a conversation the buffers stay: the next one takes them again."""

    def __init__(self) -> None:
        self._looks = 0

    def is_over(self) -> None:
        """Something is asked."""
        self._looks = 0

    def look(self) -> bool:
        """Nothing was asked since the last look. True = look again soon."""
        self._looks += 1
        if self._looks == 2:
            give_back()
        return self._looks < 2


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
