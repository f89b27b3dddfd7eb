"""Samplers and logits processors for one row of the batch, over mlx-lm's own.

Neither may raise: an exception in the middle of a step silently corrupts the other rows, so every
value is checked before (`check`), against this model's vocabulary.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mlx.core as mx
from mlx_lm.sample_utils import (
    apply_min_p,
    apply_top_k,
    apply_top_p,
    make_logits_processors,
    make_sampler,
)

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Sampling

Sampler = Callable[[mx.array], mx.array]
Processor = Callable[[mx.array, mx.array], mx.array]


def check(sampling: Sampling, vocabulary: int) -> None:
    """Refuse what would fail or corrupt later. Raises BadRequest that names the field."""
    for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
        value = getattr(sampling, name)
        if not math.isfinite(value) or value < 0:
            raise BadRequest(f"{name} must be a number of at least 0.", param=name)
    for name in ("presence_penalty", "frequency_penalty"):
        if not math.isfinite(getattr(sampling, name)):
            raise BadRequest(f"{name} must be a finite number.", param=name)
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocabulary:
            raise BadRequest(
                f"logit_bias names token {token}; this model's run from 0 to {vocabulary - 1}.",
                param="logit_bias",
            )
        if not math.isfinite(bias):
            raise BadRequest("logit_bias values must be finite numbers.", param="logit_bias")


def sampler_for(sampling: Sampling, vocabulary: int) -> Sampler:
    """Rows that share a sampler are drawn in one call, so unseeded ones get the same object."""
    # mlx-lm refuses top_k at or above the vocabulary, where it means nothing anyway.
    top_k = sampling.top_k if sampling.top_k < vocabulary else 0
    if sampling.temperature == 0:
        return _shared(0.0, 0.0, 0.0, 0)
    if sampling.seed is None:
        return _shared(sampling.temperature, sampling.top_p, sampling.min_p, top_k)
    return Seeded(sampling, top_k)


@lru_cache(maxsize=256)
def _shared(temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    sampler: Sampler = make_sampler(temperature, top_p=top_p, min_p=min(min_p, 1.0), top_k=top_k)
    return sampler


class Seeded:
    """Draws with a key of its own for each position, so that the text depends on the request alone:
    not on its neighbours in the batch, nor on a replay (`position` can be set back)."""

    def __init__(self, sampling: Sampling, top_k: int) -> None:
        self.sampling = sampling
        self.top_k = top_k
        self.position = 0

    def __call__(self, logprobs: mx.array) -> mx.array:
        chosen = self.sampling
        if 0 < chosen.top_p < 1:
            logprobs = apply_top_p(logprobs, chosen.top_p)
        if chosen.min_p:
            logprobs = apply_min_p(logprobs, min(chosen.min_p, 1.0))
        if self.top_k > 0:
            logprobs = apply_top_k(logprobs, self.top_k)
        key = mx.random.key(_mix(chosen.seed or 0, self.position))
        self.position += 1
        return mx.random.categorical(logprobs / chosen.temperature, key=key)


def _mix(seed: int, position: int) -> int:
    """One 64-bit key for a seed and a position (splitmix64's finaliser)."""
    mask = (1 << 64) - 1
    value = (seed * 0x9E3779B97F4A7C15 + position * 0xBF58476D1CE4E5B9 + 1) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return (value ^ (value >> 31)) & mask


def processors_for(sampling: Sampling) -> list[Processor]:
    """Empty for most requests: rows without processors keep the step in one piece."""
    # 0 and 1 both mean "no penalty": documents differ (mlx-lm's 1.0, its newer server's 0.0).
    repetition = sampling.repetition_penalty
    made: list[Any] = make_logits_processors(
        logit_bias=sampling.logit_bias or None,
        repetition_penalty=None if repetition in (0, 1) else repetition,
        repetition_context_size=sampling.repetition_context_tokens,
        presence_penalty=sampling.presence_penalty,
        presence_context_size=sampling.presence_context_tokens,
        frequency_penalty=sampling.frequency_penalty,
        frequency_context_size=sampling.frequency_context_tokens,
    )
    return made
