"""Bringing a text model up: weights with progress, what it can take, how fast it reads."""

import time
from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import mlx_lm.generate
import mlx_lm.utils
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from mlxgui.engine.errors import DamagedWeights, LoadFailed

WARM_UP_TOKENS = 64


def leave_wired_limit_alone() -> None:
    """mlx-lm raises Metal's wired limit in several places; that is tied to macOS kernel panics
    (ml-explore/mlx#3186). Every caller looks the name up in its own module."""

    def unchanged() -> None:
        return None

    mlx_lm.utils.maybe_set_recommended_wired_limit = unchanged
    mlx_lm.generate.maybe_set_recommended_wired_limit = unchanged


def read_weights(model: nn.Module, report: Callable[[float], None]) -> int:
    """Evaluate lazily loaded parameters one by one, reporting the fraction read; returns bytes."""
    arrays = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays) or 1
    done, reported = 0, 0.0
    for array in arrays:
        mx.eval(array)
        done += array.nbytes
        if done / total - reported >= 0.02:
            reported = done / total
            report(reported)
    return done


def embedding_rows(model: nn.Module) -> int:
    """Rows of the token embedding: the widest one the model has. Raises LoadFailed without one."""
    kinds = (nn.Embedding, nn.QuantizedEmbedding)
    rows = [int(m.weight.shape[0]) for _, m in model.named_modules() if isinstance(m, kinds)]
    if not rows:
        raise LoadFailed("The model has no token embedding.")
    return max(rows)


def logits_width(model: nn.Module, name: str) -> int:
    """Width of the vocabulary, from a first forward pass. Raises DamagedWeights for NaN."""
    logits = model(mx.array([[0]]))[0, -1]
    if bool(mx.any(mx.isnan(logits)).item()):
        raise DamagedWeights(
            f"“{name}” computes no numbers (NaN): its weights are damaged. Download the model "
            "again, or use another conversion of it."
        )
    return int(logits.shape[-1])


def prefill_speed(model: nn.Module) -> float:
    """In tokens per second. Compiles kernels beside, so that the first request need not."""
    cache = make_prompt_cache(model)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        model(mx.zeros((1, WARM_UP_TOKENS), mx.int32), cache=cache)
        mx.eval([layer.state for layer in cache])
        seconds = time.perf_counter() - started
    mx.clear_cache()
    return WARM_UP_TOKENS / max(seconds, 1e-6)
