"""The keys and values of a row that has no neighbour: as mlx-lm keeps those of a single request.

Rows side by side are padded to one length, so every pass over them makes a mask of all tokens, and
each row's position is an array. A row that is alone needs neither: attention takes its own causal
path, and what the prompt cache held is read where it lies. When a second row comes, or all but one
have gone, the keys and values move.
"""

from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, KVCache


class AloneKV(KVCache):
    """mlx-lm's KVCache with what its batches ask of their caches."""

    @classmethod
    def of(cls, cache: KVCache) -> "AloneKV":
        """Takes over its arrays."""
        made = cls()
        made.keys, made.values, made.offset = cache.keys, cache.values, cache.offset
        return made

    def prepare(self, **padding: Any) -> None:
        """One row is not padded."""

    def finalize(self) -> None:
        """One row was not padded."""

    def filter(self, rows: list[int]) -> None:
        """The only row stays."""

    def extract(self, row: int) -> KVCache:
        """What it holds, as a cache that does not see what is added later."""
        cache = KVCache()
        if self.keys is not None:
            held = slice(None, self.offset)
            cache.keys = mx.contiguous(self.keys[..., held, :])
            cache.values = mx.contiguous(self.values[..., held, :])
            cache.offset = self.offset
        return cache


def alone(layers: list[Any]) -> list[Any]:
    """The caches of a batch of one row, for a row without a neighbour."""
    return [
        AloneKV.of(layer.extract(0)) if type(layer) is BatchKVCache else layer for layer in layers
    ]


def side_by_side(layers: list[Any]) -> list[Any]:
    """The caches of a row without a neighbour, as other rows can join them."""
    return [
        BatchKVCache.merge([layer]) if isinstance(layer, AloneKV) else layer for layer in layers
    ]
