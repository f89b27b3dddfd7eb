"""States made by hand: what a layer holds at a token can be told from the token."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, QuantizedKVCache, RotatingKVCache

WIDTH = 64
BYTES_PER_TOKEN = 2 * WIDTH * 2
"""Keys and values of one layer in 16 bit."""


def rows(tokens: Sequence[int]) -> Any:
    column = mx.array(list(tokens), dtype=mx.bfloat16)[None, None, :, None]
    return mx.broadcast_to(column, (1, 1, len(tokens), WIDTH))


def full(tokens: Sequence[int]) -> list[Any]:
    layer = KVCache()
    layer.update_and_fetch(rows(tokens), rows(tokens) + 1)
    return [layer]


def quantised(tokens: Sequence[int]) -> list[Any]:
    layer = QuantizedKVCache(group_size=64, bits=8)
    layer.update_and_fetch(rows(tokens), rows(tokens) + 1)
    return [layer]


def rotating(tokens: Sequence[int], window: int = 32) -> list[Any]:
    layer = RotatingKVCache(max_size=window)
    for start in range(0, len(tokens), 20):
        layer.update_and_fetch(rows(tokens[start : start + 20]), rows(tokens[start : start + 20]))
    return [layer]


def recurrent(tokens: Sequence[int]) -> list[Any]:
    layer = ArraysCache(2)
    layer[0] = mx.array([list(tokens)[-4:]], dtype=mx.bfloat16)
    return [layer]


def mixed(tokens: Sequence[int]) -> list[Any]:
    return [*full(tokens), CacheList(*recurrent(tokens), *full(tokens)), *rotating(tokens)]


KINDS = {
    "full": full,
    "quantised": quantised,
    "rotating": rotating,
    "recurrent": recurrent,
    "mixed": mixed,
}


def leaves(cache: list[Any]) -> list[Any]:
    """All that a state holds, to be compared."""
    from mlx.utils import tree_flatten

    return [
        (leaf.dtype, leaf.tolist()) if isinstance(leaf, mx.array) else leaf
        for _, leaf in tree_flatten([layer.state for layer in cache])
    ]
