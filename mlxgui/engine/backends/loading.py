"""Bringing a text model up: weights with progress, what it can take, how fast it reads."""

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from msgspec import structs

from mlxgui.engine.backends.quantised import BITS, GROUP_SIZES, Quantisation, can_quantise
from mlxgui.engine.errors import DamagedWeights, LoadFailed
from mlxgui.engine.spec import LoadOptions, ModelSpec

WARM_UP_TOKENS = 64


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
        raise no_numbers(name)
    return int(logits.shape[-1])


def no_numbers(name: str) -> DamagedWeights:
    """Of a model that computes NaN, or infinities where only numbers can be."""
    return DamagedWeights(
        f"“{name}” computes no numbers (NaN): its weights are damaged. Download the model "
        "again, or use another conversion of it."
    )


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


def quantisation_for(model: Any, spec: ModelSpec) -> tuple[ModelSpec, Quantisation | None, str]:
    """(the spec as it is kept to, what its options ask for, why less is done than they ask for).

    Raises LoadFailed that names kv_quantization and the reason, where it was asked of this model.
    """
    options = spec.options
    if not options.kv_bits:
        return spec, None, ""
    if not (why := _why_not(model, options)):
        start = max(0, options.kv_start_tokens)
        return spec, Quantisation(options.kv_bits, options.kv_group_size, start), ""
    if not options.kv_if_possible:
        raise LoadFailed(
            f"kv_quantization does not go with “{spec.name}”: {why}. Load it without"
            " kv_quantization."
        )
    plain = structs.replace(spec, options=structs.replace(options, kv_bits=0))
    return plain, None, f"KV_BITS={options.kv_bits} is left out for this model: {why}."


def _why_not(model: Any, options: LoadOptions) -> str:
    if options.kv_bits not in BITS:
        return f"it may be 4 or 8 bits, not {options.kv_bits}"
    if options.kv_group_size not in GROUP_SIZES:
        return f"the group size may be 32, 64 or 128, not {options.kv_group_size}"
    if options.max_kv_tokens and not hasattr(model, "make_cache"):
        return "a cache bounded by max_kv_size is overwritten in place, and stays as it is"
    return can_quantise(model, options.kv_group_size)
