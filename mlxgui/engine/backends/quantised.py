"""Keys and values in 4 or 8 bits, for rows that decode side by side.

mlx-lm can quantise the cache of one request, but its batch has no such cache. Which tokens are read
at which precision is a matter of their position alone: the first `start_tokens` of a row at full
precision, every later one over a quantised cache. So a text depends neither on its neighbours, nor
on how its prompt was cut into chunks, nor on what the prompt cache held.
"""

from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm.models.base import create_causal_mask
from mlx_lm.models.cache import ArraysCache, KVCache, QuantizedKVCache, dynamic_roll
from mlx_lm.models.cache import make_prompt_cache as plain_cache
from msgspec import Struct

from mlxgui.engine.backends.alone import AloneKV

BITS = (4, 8)
GROUP_SIZES = (32, 64, 128)
"""What mlx.core.quantize can do."""
WHOLE_TOKENS = 32
"""From so many new tokens on, the cache is read as whole numbers: the quantised product would hold
every score of every head at once, some GB for a long prompt."""

Parts = tuple[mx.array, mx.array, mx.array]
"""Packed numbers, scales and biases, each (rows, heads, tokens, ...)."""


class Quantisation(Struct, frozen=True):
    """How the cache of one model is quantised."""

    bits: int
    group_size: int
    start_tokens: int

    def is_due(self, tokens: int) -> bool:
        """Must a row whose cache holds so many tokens be quantised?"""
        return tokens >= self.start_tokens

    def quantised(self, cache: list[Any]) -> list[Any]:
        """A row's cache, quantised where it is made of keys and values."""
        return [
            layer.to_quantized(group_size=self.group_size, bits=self.bits)
            if isinstance(layer, KVCache)
            else layer
            for layer in cache
        ]


class BatchQuantisedKV:
    """The quantised counterpart of mlx-lm's BatchKVCache: rows are padded on the left."""

    step = 256

    def __init__(self, left_padding: list[int], group_size: int, bits: int) -> None:
        self.keys: Parts | None = None
        self.values: Parts | None = None
        self.left_padding = mx.array(left_padding)
        self.offset = mx.array([-padding for padding in left_padding])
        self.group_size = group_size
        self._bits = bits
        self._idx = 0
        self._right_padding: mx.array | None = None
        self._is_read_whole = False

    @property
    def bits(self) -> int:
        """mlx-lm takes its quantised path where a cache has `bits`; see WHOLE_TOKENS."""
        if self._is_read_whole:
            raise AttributeError("bits")
        return self._bits

    # -- what a model does with it ----------------------------------------------------------------

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Any, Any]:
        """Take new keys and values, (rows, heads, tokens, width); returns all there are."""
        new = keys.shape[2]
        start, end = self._idx, self._idx + new
        if self.keys is None or self.values is None:
            self.keys, self.values = self._room(keys, new), self._room(values, new)
        elif end > self.keys[0].shape[2]:
            self.keys = self._longer(self.keys, keys, new)
            self.values = self._longer(self.values, values, new)
        for parts, fresh in ((self.keys, keys), (self.values, values)):
            for part, piece in zip(parts, self._quantise(fresh), strict=True):
                part[..., start:end, :] = piece
        self._idx = end
        self.offset = self.offset + new
        self._is_read_whole = new >= WHOLE_TOKENS
        if self._is_read_whole:
            return self._whole(self.keys), self._whole(self.values)
        return self.keys_and_values()

    def keys_and_values(self) -> tuple[Any, Any]:
        parts = tree_map(lambda part: part[..., : self._idx, :], (self.keys, self.values))
        return parts[0], parts[1]

    def make_mask(self, N: int, return_array: bool = False, **kwargs: Any) -> mx.array:
        mask: mx.array = create_causal_mask(
            N, offset=self._idx, left_padding=self.left_padding, **kwargs
        )
        return mask

    def _quantise(self, fresh: mx.array) -> Any:
        return mx.quantize(fresh, group_size=self.group_size, bits=self._bits)

    def _whole(self, parts: Parts) -> mx.array:
        packed, scales, biases = (part[..., : self._idx, :] for part in parts)
        return mx.dequantize(packed, scales, biases, group_size=self.group_size, bits=self._bits)

    def _room(self, fresh: mx.array, new: int) -> Parts:
        rows, heads, _, width = fresh.shape
        tokens = (new + self.step - 1) // self.step * self.step
        groups = width // self.group_size
        packed = mx.zeros((rows, heads, tokens, width * self._bits // 32), mx.uint32)
        scales = mx.zeros((rows, heads, tokens, groups), fresh.dtype)
        return packed, scales, mx.zeros_like(scales)

    def _longer(self, parts: Parts, fresh: mx.array, new: int) -> Parts:
        pairs = zip(parts, self._room(fresh, new), strict=True)
        packed, scales, biases = (
            mx.concatenate([part[..., : self._idx, :], more], axis=2) for part, more in pairs
        )
        return packed, scales, biases

    # -- what a batch does with it ----------------------------------------------------------------

    def prepare(self, *, lengths: Any = None, right_padding: list[int] | None = None) -> None:
        if right_padding is not None and max(right_padding) > 0:
            self._right_padding = mx.array(right_padding)

    def finalize(self) -> None:
        """What was padded on the right of a prefill goes to the left."""
        if self._right_padding is None:
            return
        shift = self._right_padding
        parts = (self.keys, self.values)
        rolled = tree_map(lambda part: dynamic_roll(part, shift[:, None], axis=2), parts)
        self.keys, self.values = rolled
        self.offset = self.offset - shift
        self.left_padding = self.left_padding + shift
        self._right_padding = None

    def filter(self, rows: list[int]) -> None:
        self.offset, self.left_padding = self.offset[rows], self.left_padding[rows]
        spare: int = np.array(self.left_padding).min().item()
        if self.keys is not None:
            parts = (self.keys, self.values)
            self.keys, self.values = tree_map(lambda part: part[rows][..., spare:, :], parts)
        self._idx -= spare
        self.left_padding = self.left_padding - spare

    def extend(self, other: "BatchQuantisedKV") -> None:
        """More rows, right-justified beside these."""
        end = max(self._idx, other._idx)
        both = [one._ending_at(end) for one in (self, other) if one.keys is not None]
        if len(both) == 2:
            joined = tree_map(lambda mine, theirs: mx.concatenate([mine, theirs]), *both)
            self.keys, self.values = joined
        elif both:
            raise ValueError("Rows without tokens cannot join rows that have some.")
        paddings = [one.left_padding + (end - one._idx) for one in (self, other)]
        self.left_padding = mx.concatenate(paddings)
        self.offset = mx.concatenate([self.offset, other.offset])
        self._idx = end

    def _ending_at(self, end: int) -> Any:
        pad = [(0, 0), (0, 0), (end - self._idx, 0), (0, 0)]
        return tree_map(lambda part: mx.pad(part, pad), self.keys_and_values())

    def extract(self, row: int) -> QuantizedKVCache:
        """One row's own cache, as mlx-lm knows it."""
        cache = QuantizedKVCache(group_size=self.group_size, bits=self._bits)
        if self.keys is None:
            return cache
        start: int = np.array(self.left_padding)[row].item()
        parts = (self.keys, self.values)
        cache.keys, cache.values = tree_map(
            lambda part: mx.contiguous(part[row : row + 1, :, start : self._idx]), parts
        )
        cache.offset = self._idx - start
        return cache

    @classmethod
    def merge(cls, caches: list[QuantizedKVCache]) -> "BatchQuantisedKV":
        """Rows side by side; some may hold no tokens yet."""
        end = max(cache.offset for cache in caches)
        padding = [end - cache.offset for cache in caches]
        made = cls(padding, caches[0].group_size, caches[0].bits)
        if end:
            held = next(cache.keys_and_values() for cache in caches if cache.offset)
            rows = [_padded(cache, left, held) for cache, left in zip(caches, padding, strict=True)]
            made.keys, made.values = tree_map(lambda *parts: mx.concatenate(parts), *rows)
            made.offset = mx.array([cache.offset for cache in caches])
            made._idx = end
        return made

    @property
    def state(self) -> Any:
        return self.keys, self.values, self.offset, self.left_padding

    def is_trimmable(self) -> bool:
        return True

    def trim(self, n: int) -> int:
        n = min(self._idx, n)
        self._idx -= n
        self.offset = self.offset - n
        return n

    def size(self) -> int:
        return self._idx

    def empty(self) -> bool:
        return self.keys is None

    @property
    def nbytes(self) -> int:
        parts = [*(self.keys or ()), *(self.values or ())]
        return sum(int(part.nbytes) for part in parts)


def _padded(cache: QuantizedKVCache, left: int, like: Any) -> Any:
    """What a row holds behind so much padding, in the shapes of a row that holds something."""
    if not cache.offset:
        return tree_map(lambda p: mx.zeros((1, p.shape[1], left, p.shape[3]), p.dtype), like)
    pad = [(0, 0), (0, 0), (left, 0), (0, 0)]
    return tree_map(lambda part: mx.pad(part, pad), cache.keys_and_values())


def merged(caches: list[list[Any]]) -> list[Any]:
    """Caches of rows as one batch cache for each layer, which takes them over. Raises ValueError
    where one cannot be."""
    layers: list[Any] = []
    for column in zip(*caches, strict=True):
        if len(column) == 1 and type(column[0]) is KVCache:
            layers.append(AloneKV.of(column[0]))
            continue
        kind: Any = BatchQuantisedKV if isinstance(column[0], QuantizedKVCache) else column[0]
        if not hasattr(kind, "merge"):
            raise ValueError(f"A {type(column[0]).__name__} cannot be part of a batch.")
        layers.append(kind.merge(list(column)))
    return layers


def is_quantised(cache: list[Any]) -> bool:
    return any(isinstance(layer, (BatchQuantisedKV, QuantizedKVCache)) for layer in cache)


# -- at load --------------------------------------------------------------------------------------


def can_quantise(model: Any, group_size: int = 64) -> str:
    """Why the KV cache of this model cannot be quantised; empty when it can. Runs the model."""
    cache = plain_cache(model)
    layers = [layer for layer in cache if isinstance(layer, KVCache)]
    mx.eval(model(mx.zeros((1, 1), mx.int32), cache=cache))
    kinds = {type(layer) for layer in cache if layer.nbytes} - {KVCache, ArraysCache}
    if kinds:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        return f"its cache is a {names}, which cannot be quantised"
    if not layers:
        return "it keeps a state of fixed size, and no keys and values"
    widths = {int(part.shape[-1]) for layer in layers for part in (layer.keys, layer.values)}
    uneven = sorted(width for width in widths if width % group_size)
    if uneven:
        return f"its heads are {uneven[0]} wide, which a group of {group_size} does not divide"
    try:
        rows = merged([Quantisation(BITS[0], group_size, 0).quantised(cache)])
        for tokens in (1, WHOLE_TOKENS):
            mx.eval(model(mx.zeros((1, tokens), mx.int32), cache=rows))
    except Exception as error:
        return f"its attention cannot read a quantised cache ({type(error).__name__})"
    return ""
