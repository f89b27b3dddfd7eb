"""What a family of mlx-vlm makes of caches of several rows, found by trying: they differ in it."""

import inspect
import logging
from typing import Any

import mlx.core as mx

from mlxgui.engine.backends.vision_model import Language

log = logging.getLogger("worker.vision")

LASTING = {"cross_attention_states", "encoder_outputs", "decoder_inputs_embeds"}
"""Arguments of language models that look at a picture with every token they write."""
PROBES = [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13]]
"""Token ids that every vocabulary has."""
SAME_SHARE = 0.05
"""Sums in another order differ by less, wrong positions and masks by much more."""

Cache = list[Any]


def can_decode_together(language: Language) -> bool:
    """Whether rows that were read apart decode side by side as each does alone."""
    parameters = inspect.signature(language.whole.language_model.__call__).parameters
    mergeable = all(hasattr(layer, "merge") for layer in language.bare_cache())
    if parameters.keys() & LASTING or not mergeable:
        return False

    def together() -> mx.array:
        first, second = (_read(language, [row], _merged([language.make_cache()])) for row in PROBES)
        for ours, theirs in zip(first, second, strict=True):
            ours.extend(theirs)
        return _last(language, PROBES, first)

    return _same(language, together)


def can_read_together(language: Language) -> bool:
    """Whether prompts of different lengths, padded on the right, are read as each is alone."""

    def together() -> mx.array:
        cache = _merged([language.make_cache() for _ in PROBES])
        return _last(language, PROBES, _read(language, PROBES, cache))

    return _same(language, together)


def _same(language: Language, together: Any) -> bool:
    try:
        alone = [_read(language, [row], language.make_cache()) for row in PROBES]
        pairs = zip(PROBES, alone, strict=True)
        apart = mx.concatenate([_last(language, [row], cache) for row, cache in pairs])
        error = mx.abs(together() - apart).mean()
        size = mx.abs(apart - apart.mean()).mean()
        return bool((error <= SAME_SHARE * size).item())
    except Exception:
        log.info("a trial of several rows failed", exc_info=True)
        return False


def _merged(caches: list[Cache]) -> Cache:
    return [layers[0].merge(list(layers)) for layers in zip(*caches, strict=True)]


def _read(language: Language, rows: list[list[int]], cache: Cache) -> Cache:
    """All but the last two tokens in one pass, then one as it is decoded."""
    lengths = [len(row) - 2 for row in rows]
    padding = [max(lengths) - length for length in lengths]
    padded = [row[:-2] + [0] * count for row, count in zip(rows, padding, strict=True)]
    for layer in cache if any(padding) else []:
        layer.prepare(lengths=lengths, right_padding=padding)
    language(mx.array(padded), cache=cache)
    for layer in cache if any(padding) else []:
        layer.finalize()
    language(mx.array([row[-2:-1] for row in rows]), cache=cache)
    return cache


def _last(language: Language, rows: list[list[int]], cache: Cache) -> mx.array:
    """(rows, vocabulary): the logits behind the last token of each row."""
    logits = language(mx.array([row[-1:] for row in rows]), cache=cache)[:, -1]
    return logits.astype(mx.float32)
