"""mlx-vlm's language models as the scheduler wants a model: tokens and a cache in, logits out.

What a picture adds to a prompt is computed before (`Reading`) and travels with its row in one more
cache layer (`Standing`), so that rows are batched, copied, filtered and cut by the same code as
those of text models, and rows with and without pictures decode side by side.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models import cache as classes
from mlx_vlm.generate.ar import (
    _is_sequence_aligned_prompt_kwarg,
    _slice_sequence_aligned_prompt_kwarg,
)
from mlx_vlm.models import cache as vision_classes
from msgspec import Struct


class Reading(Struct, eq=False):
    """A prompt with pictures in place: what the language model reads instead of its tokens."""

    ids: mx.array
    """(1, tokens): with the model's own placeholders."""
    embeddings: mx.array
    """(1, tokens, width)."""
    extras: dict[str, Any]
    """Further arguments of the language model; those of one row per token are cut with it."""
    length: int
    """Tokens."""
    end: int
    """Where the reading ends. The last token is decoded from, like those that come after it."""
    shift: int = 0
    """What is added to a later token's index for its position: pictures take fewer positions."""
    is_whole: bool = False
    """It cannot be read in pieces: tokens of a picture look at each other."""

    def piece(self, start: int, end: int) -> dict[str, Any]:
        """The arguments for these tokens."""
        chosen = {
            name: _slice_sequence_aligned_prompt_kwarg(name, value, start=start, stop=end)
            if isinstance(value, mx.array)
            and _is_sequence_aligned_prompt_kwarg(name, value, self.length)
            else value
            for name, value in self.extras.items()
        }
        return {**chosen, "inputs_embeds": self.embeddings[:, start:end]}


class Place(Struct, eq=False):
    """Where one row is."""

    offset: int = 0
    shift: int = 0
    reading: Reading | None = None
    told: dict[str, Any] = {}
    """What the language model is told with every later token."""

    def advance(self, tokens: int) -> None:
        self.offset += tokens
        if self.reading is not None and self.offset >= self.reading.end:
            self.reading = None  # its arrays are large


class Standing:
    """The cache layer that holds no keys: where each row of a batch is, and what it reads.

    It has the methods of mlx-lm's caches, which the library calls on every layer.
    """

    state: list[Any] = []
    nbytes = 0

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self._padding: list[int] = []

    def merge(self, layers: list["Standing"]) -> "Standing":
        return Standing([_copy(place) for layer in layers for place in layer.places])

    def extract(self, index: int) -> "Standing":
        return Standing([_copy(self.places[index])])

    def filter(self, keep: list[int]) -> None:
        self.places = [self.places[int(i)] for i in keep]

    def extend(self, other: "Standing") -> None:
        self.places = [*self.places, *other.places]

    def prepare(self, *, right_padding: list[int] | None = None, **_: Any) -> None:
        self._padding = list(right_padding or [])

    def finalize(self) -> None:
        for place, padding in zip(self.places, self._padding, strict=False):
            place.offset -= padding
        self._padding = []

    def empty(self) -> bool:
        return not any(place.offset for place in self.places)

    def size(self) -> int:
        return max((place.offset for place in self.places), default=0)

    def is_trimmable(self) -> bool:
        return True

    def trim(self, tokens: int) -> int:
        for place in self.places:
            place.offset -= tokens
        return tokens

    @property
    def reading(self) -> Reading | None:
        """Of the only row; rows that read pictures are read alone."""
        return self.places[0].reading if len(self.places) == 1 else None

    def advance(self, tokens: int) -> None:
        for place in self.places:
            place.advance(tokens)

    def positions(self, tokens: int) -> mx.array:
        """(3, rows, tokens): time, height and width are one and the same for text."""
        starts = np.array([place.offset + place.shift for place in self.places], np.int32)
        rows = starts[:, None] + np.arange(tokens, dtype=np.int32)
        return mx.array(np.broadcast_to(rows, (3, *rows.shape)))


class Lone:
    """All caches of one row as a single layer, for models whose rows cannot be batched: they see
    the caches they were written for. A batch of them never has a second row."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    @property
    def state(self) -> list[Any]:
        return [layer.state for layer in self.layers if not layer.empty()]

    @property
    def nbytes(self) -> int:
        return sum(int(layer.nbytes) for layer in self.layers)

    def merge(self, rows: list["Lone"]) -> "Lone":
        (row,) = rows
        return row

    def extract(self, index: int) -> "Lone":
        return self

    def empty(self) -> bool:
        return all(layer.empty() for layer in self.layers)

    def is_trimmable(self) -> bool:
        return False


class Language(nn.Module):
    """Args:
    whole: an mlx-vlm model with a language model and `get_input_embeddings`.
    max_kv_tokens: bound of each row's KV cache; 0 = none.
    """

    def __init__(self, whole: Any, max_kv_tokens: int) -> None:
        super().__init__()
        self.whole = whole
        self._max_kv_tokens = max_kv_tokens
        # Where positions are computed from pictures, every step is told its own.
        self._has_axes = hasattr(whole.language_model, "get_rope_index")
        self._axes_last = self._has_axes and _has_axes_last(whole.language_model)
        self.is_alone = False
        """One row at a time, in the very calls that mlx-vlm makes for one."""
        self.reads_together = True
        """Prompts of several rows may be padded to one length."""

    @property
    def layers(self) -> Any:
        return self.whole.language_model.layers

    def make_cache(self) -> list[Any]:
        return [*self.bare_cache(), Standing([Place()])]

    def bare_cache(self) -> list[Any]:
        """Of mlx-lm's classes where they fit, so that the prompt cache can keep it."""
        bound = self._max_kv_tokens or None
        made = vision_classes.make_prompt_cache(self.whole.language_model, bound)
        if self.is_alone:
            return [Lone(made)]
        return [_of_text(layer) for layer in made]

    def __call__(self, tokens: mx.array, cache: list[Any] | None = None) -> mx.array:
        """Logits (rows, tokens, vocabulary)."""
        *layers, standing = cache or self.make_cache()
        if self.is_alone:
            layers = layers[0].layers
            self._forget_last(standing)
        reading = standing.reading
        if reading is None:
            return self._text(tokens, layers, standing)
        place = standing.places[0]
        count = min(tokens.shape[1], reading.end - place.offset)
        output = self._pictures(reading, place.offset, count, layers)
        if self.is_alone:
            place.told = _lasting(output)
        standing.advance(count)
        if count == tokens.shape[1]:
            return _logits(output)
        rest = self._text(tokens[:, count:], layers, standing)
        return mx.concatenate([_logits(output), rest], axis=1)

    def _text(self, tokens: mx.array, layers: list[Any], standing: Standing) -> mx.array:
        told = dict(standing.places[0].told)
        if self._has_axes and not self.is_alone:
            positions = standing.positions(tokens.shape[1])
            told["position_ids"] = mx.moveaxis(positions, 0, -1) if self._axes_last else positions
        logits = _logits(self.whole.language_model(tokens, cache=layers, **told))
        standing.advance(tokens.shape[1])
        return logits

    def _forget_last(self, standing: Standing) -> None:
        """Such models keep positions of the prompt that they read last."""
        if standing.places[0].offset == 0:
            for name in ("_position_ids", "_rope_deltas"):
                if hasattr(self.whole.language_model, name):
                    setattr(self.whole.language_model, name, None)

    def _pictures(self, reading: Reading, start: int, count: int, layers: list[Any]) -> Any:
        end = start + count
        ids = reading.ids[:, start:end]
        return self.whole.language_model(ids, cache=layers, **reading.piece(start, end))


def without_standing(cache: list[Any]) -> list[Any]:
    return [layer for layer in cache if not isinstance(layer, Standing)]


def is_keepable(cache: list[Any]) -> bool:
    """Can the prompt cache cut, count and write it? It knows mlx-lm's classes."""
    known = (classes.KVCache, classes.RotatingKVCache, classes.QuantizedKVCache)
    return all(isinstance(layer, known) for layer in cache)


def _of_text(layer: Any) -> Any:
    """mlx-lm's counterpart of an empty cache of mlx-vlm; itself where there is none."""
    if type(layer) is vision_classes.KVCache:
        return classes.KVCache()
    if type(layer) is vision_classes.RotatingKVCache:
        return classes.RotatingKVCache(max_size=layer.max_size, keep=layer.keep)
    return layer


def _has_axes_last(language: Any) -> bool:
    """Whether its positions are (rows, tokens, 3), as ERNIE's, and not (3, rows, tokens)."""
    positions = language.get_rope_index(mx.array([[1, 2, 3, 4]]))[0]
    return positions.ndim == 3 and positions.shape[0] == 1


def _lasting(output: Any) -> dict[str, Any]:
    """What is handed on to the next token. Source: mlx_vlm.generate.ar.generate_step."""
    found = {name: getattr(output, name, None) for name in ("cross_attention_states",)}
    return {name: value for name, value in found.items() if value is not None}


def _logits(output: Any) -> mx.array:
    return output.logits if hasattr(output, "logits") else output


def _copy(place: Place) -> Place:
    return Place(place.offset, place.shift, place.reading, place.told)
