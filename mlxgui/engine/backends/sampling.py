"""Sampling values checked against the model; logits processors over mlx-lm's own.

Processors may not raise: an exception in the middle of a step silently corrupts other rows, so
every value is checked before (`check`), against this model's vocabulary.
"""

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.sample_utils import make_logits_processors

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Sampling

Processor = Callable[[mx.array, mx.array], mx.array]


def check(sampling: Sampling, vocabulary: int) -> None:
    """Refuse what would fail or corrupt later. Raises BadRequest that names the field."""
    for name in ("temperature", "top_p", "min_p", "repetition_penalty", "xtc_probability"):
        value = getattr(sampling, name)
        if not math.isfinite(value) or value < 0:
            raise BadRequest(f"{name} must be a number of at least 0.", param=name)
    if not 0 <= sampling.xtc_threshold <= 0.5:  # NaN lies nowhere
        raise BadRequest("xtc_threshold must lie between 0 and 0.5.", param="xtc_threshold")
    if sampling.top_k < -1:
        raise BadRequest("top_k must be a number of at least 0; 0 means all tokens.", param="top_k")
    for name in ("repetition", "presence", "frequency"):
        if getattr(sampling, f"{name}_context_tokens") < 0:
            field = f"{name}_context_size"
            raise BadRequest(f"{field} must be a number of at least 0.", param=field)
    for name in ("presence_penalty", "frequency_penalty"):
        if not math.isfinite(getattr(sampling, name)):
            raise BadRequest(f"{name} must be a finite number.", param=name)
    _check_biases(sampling, vocabulary)


def _check_biases(sampling: Sampling, vocabulary: int) -> None:
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocabulary:
            raise BadRequest(
                f"logit_bias names token {token}; this model's run from 0 to {vocabulary - 1}.",
                param="logit_bias",
            )
        if not math.isfinite(bias):
            raise BadRequest("logit_bias values must be finite numbers.", param="logit_bias")


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


def not_before(tokens: list[int], min_tokens: int, position: Callable[[], int]) -> Processor:
    """Forbid these tokens (those that end the turn) for the first `min_tokens` positions, but where
    nothing else may come: a grammar that is fulfilled leaves only the end."""
    indices = mx.array(tokens)

    def forbid(context: mx.array, logits: mx.array) -> mx.array:
        if position() >= min_tokens:
            return logits
        low = mx.array(-mx.inf, logits.dtype)
        others = mx.put_along_axis(logits, indices[None], low, axis=-1)
        return mx.where(others.max(axis=-1, keepdims=True) == low, logits, others)

    return forbid
