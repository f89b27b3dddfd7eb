"""One request on its way into the batch."""

from typing import Any

from mlx_lm.generate import StopSequences
from msgspec import Struct

from mlxgui.engine.backends.batch import Prefill
from mlxgui.engine.backends.drawing import RowPlan
from mlxgui.engine.cache.entries import Kind


class Entry(Struct, eq=False):
    """One request on its way into the batch.

    `segments` are what is left to prefill, without the very last prompt token (`last`); the cache
    may be stored where one ends. `plans` has one RowPlan per choice: the prompt is prefilled once.
    """

    id: int
    segments: list[list[int]]
    kinds: list[Kind]
    last: int
    plans: list[RowPlan]
    max_tokens: list[int]
    stop: StopSequences
    cache: list[Any] | None = None
    prefix: list[int] = []
    """The tokens that `cache` holds already."""
    priority: int = 0
    uids: list[int] = []
    arrived: float = 0.0
    batch: Prefill | None = None
    place: int = 0
    """Which row of `batch` it is."""
    done_tokens: int = 0

    @property
    def left_tokens(self) -> int:
        return sum(len(segment) for segment in self.segments)


class Prefilled(Struct):
    """What one chunk did for one entry."""

    entry: Entry
    processed_tokens: int
    segment_ended: bool
    is_ready: bool
