"""One request on its way into the batch."""

from typing import Any, Literal

from mlx_lm.generate import StopSequences
from msgspec import Struct

from mlxgui.engine.backends.drawing import RowPlan
from mlxgui.engine.backends.prefill import Prefill
from mlxgui.engine.backends.quantised import Quantisation
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
    waits_since: float = 0.0
    """When it came, or when the last chunk of it was read."""
    batch: Prefill | None = None
    place: int = 0
    """Which row of `batch` it is."""
    done_tokens: int = 0

    @property
    def left_tokens(self) -> int:
        return sum(len(segment) for segment in self.segments)

    def join_segments(self) -> None:
        """Stop at the end of the system prompt only. What is kept of a state that can be cut back
        serves every shorter beginning, and each stop costs a forward pass."""
        joined: list[list[int]] = []
        kinds: list[Kind] = []
        for segment, kind in zip(self.segments, self.kinds, strict=True):
            if joined and kinds[-1] != "system":
                joined[-1], kinds[-1] = joined[-1] + segment, kind
            else:
                joined.append(segment)
                kinds.append(kind)
        self.segments, self.kinds = joined, kinds

    @property
    def read_tokens(self) -> int:
        return len(self.prefix) + self.done_tokens

    def precision(self, quantisation: Quantisation | None) -> Literal["plain", "quantised", "both"]:
        """How what is left of its prompt is read. One padded pass must be of one kind."""
        if quantisation is None:
            return "plain"
        if quantisation.is_due(self.read_tokens):
            return "quantised"
        whole = self.read_tokens + self.left_tokens
        return "both" if quantisation.is_due(whole) else "plain"


class Prefilled(Struct):
    """What one chunk did for one entry."""

    entry: Entry
    processed_tokens: int
    segment_ended: bool
    is_ready: bool
