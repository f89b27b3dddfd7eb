"""What can be done with a prompt cache of mlx-lm, whatever its classes."""

import copy
from collections.abc import Iterator
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models import cache as classes


def layers_of(cache: list[Any]) -> Iterator[Any]:
    """The caches of the layers, mixed ones taken apart."""
    for layer in cache:
        if isinstance(layer, classes.CacheList):
            yield from layers_of(layer.caches)
        else:
            yield layer


def floor_of(cache: list[Any], length: int) -> int:
    """The shortest prefix the cache can be cut back to: 0 (any), or its own length (none)."""
    for layer in layers_of(cache):
        if not layer.is_trimmable():
            return length
        # Past its first chunk it has thrown away keys that a shorter prefix would need.
        if isinstance(layer, classes.ChunkedKVCache) and layer.start_position > 0:
            return length
        # It forgets that it was cut at the next token.
        if isinstance(layer, classes.ConcatenateKVCache):
            return length
    return 0


def is_always_trimmable(cache: list[Any]) -> bool:
    """Can it be cut back however long it grows?"""
    return all(type(one) in (classes.KVCache, classes.QuantizedKVCache) for one in layers_of(cache))


def holds(cache: list[Any], length: int) -> bool:
    """Do the layers that count tokens hold exactly `length` of them?"""
    kinds = (classes.KVCache, classes.QuantizedKVCache, classes.RotatingKVCache)
    counted = {layer.offset for layer in layers_of(cache) if isinstance(layer, kinds)}
    return counted <= {0, length}


def is_batchable(cache: list[Any]) -> bool:
    return all(hasattr(layer, "merge") for layer in cache)


def bytes_of(cache: list[Any]) -> int:
    return sum(array.nbytes for array in arrays_of(cache))


def arrays_of(cache: list[Any]) -> list[Any]:
    leaves = tree_flatten([layer.state for layer in cache])
    return [leaf for _, leaf in leaves if isinstance(leaf, mx.array)]


def view(cache: list[Any], length: int, wanted: int) -> list[Any] | None:
    """The cache cut back to `wanted` tokens, as objects of its own over the same memory.

    Copying an mx.array copies a handle, no data, and what is assigned through one handle is not
    seen through the other: so the holder of a view may do with it what it likes.
    """
    private = copy.deepcopy(cache)
    cut = length - wanted
    if cut and any(layer.trim(cut) != cut for layer in private):
        return None
    return private


def compact(cache: list[Any], most: int | None = None) -> list[Any] | None:
    """A copy that owns exactly the memory it needs, computed without waiting for it; None: it would
    take more than `most` bytes.

    An entry extracted from a batch is lazy and would keep the whole batch alive.
    """
    own = [_tight(layer) for layer in copy.deepcopy(cache)]
    if most is not None and bytes_of(own) > most:
        return None
    mx.async_eval(arrays_of(own))
    return own


def _tight(layer: Any) -> Any:
    if isinstance(layer, classes.CacheList):
        layer.caches = tuple(_tight(one) for one in layer.caches)
        return layer
    if layer.empty():
        return layer
    if isinstance(layer, classes.RotatingKVCache):
        _drop_what_left_the_window(layer)
    elif hasattr(layer, "keys_and_values"):
        layer.keys, layer.values = layer.keys_and_values()
    layer.state = tree_map(_contiguous, layer.state)
    return layer


def _drop_what_left_the_window(layer: Any) -> None:
    """Prefill leaves up to a whole chunk more than the window."""
    extra = layer.keys.shape[2] - layer.max_size
    if extra > 0 and layer.keep == 0 and layer._idx == layer.keys.shape[2]:
        layer.keys, layer.values = layer.keys[..., extra:, :], layer.values[..., extra:, :]
        layer._idx = layer.max_size


def _contiguous(leaf: Any) -> Any:
    return mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf
