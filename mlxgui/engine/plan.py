"""What a model will take, in parts: for loading it, for pages, and for each of its requests.

One arithmetic everywhere: weights, the KV cache of one row of its context (up to
`PLANNED_CONTEXT_TOKENS`), what a prefill chunk computes beside, the process itself. The prompt
cache has a share of its own.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from mlxgui.engine.kv import heads, hidden, kv_shape, number, text_config
from mlxgui.engine.model_files import Weights, config_of, weights_of
from mlxgui.engine.spec import LoadOptions, ModelSpec

MIB = 1 << 20
PROCESS_BYTES = 300 * MIB
"""A worker with its libraries and a usual tokenizer, where no more is known of the model."""
LIBRARY_BYTES = 100 * MIB
"""A worker with mlx and mlx-lm imported (measured: 75 MB on Linux, 95 MB with a tiny model)."""
TOKEN_BYTES = 1600
"""Of the tokenizer and the grammars' tables, for each token (measured: 240 MB for 150,000)."""
PLANNED_CONTEXT_TOKENS = 8192
"""Few conversations are longer; what more they take is asked for when they come."""
LONGEST_CONTEXT_TOKENS = 1 << 20
HIDDEN_COPIES, INNER_COPIES = 8, 4
"""A layer's activations live so many times over while it is computed (measured with mlx 0.32)."""
HALF_ON_PROCESSOR = 1.7
"""A processor without 16-bit arithmetic computes in copies of 32 bits."""
PROCESSOR_STEP_TOKENS = 512
"""A processor reads so few tokens a second that the scheduler's chunks are no longer."""
SCAN_TOKENS = 256
"""State-space layers compute so many tokens against each other."""
LOGIT_BYTES = 16
"""Logits at 32 bits, their log probabilities, and copies of both."""


class Plan(Struct, frozen=True, kw_only=True):
    """Bytes, in parts. `context_tokens` is the length of the one row that `kv_bytes` is for."""

    weights_bytes: int = 0
    kv_bytes: int = 0
    transient_bytes: int = 0
    process_bytes: int = 0
    draft_bytes: int = 0
    """Weights of its draft model, and the KV cache of its one row."""
    prompt_cache_bytes: int = 0
    """Taken from the prompt caches' own share of the machine, not from that of the models."""
    context_tokens: int = 0

    @property
    def needed_bytes(self) -> int:
        """What the pool counts for this model."""
        working = self.kv_bytes + self.transient_bytes + self.process_bytes
        return self.weights_bytes + self.draft_bytes + working

    @property
    def total_bytes(self) -> int:
        return self.needed_bytes + self.prompt_cache_bytes


def plan_of(spec: ModelSpec, *, context_tokens: int = 0, on_processor: bool = False) -> Plan:
    """From the files of the model; from `spec.memory_bytes` where there are none.

    Args:
        context_tokens: of the row that is planned for; 0 = as the model allows, up to
            `PLANNED_CONTEXT_TOKENS`.
        on_processor: there is no GPU for it.
    """
    folder, options = Path(spec.path), spec.options
    has_kv = spec.kind in ("text", "vision")
    config = {} if spec.kind == "fake" else config_of(folder)
    if not config:
        return Plan(weights_bytes=spec.memory_bytes, context_tokens=spec.context_tokens)
    weights = weights_of(folder)
    if spec.adapter_path:
        size = weights.size_bytes + weights_of(Path(spec.adapter_path)).size_bytes
        weights = Weights(size, weights.number_bytes)
    context = context_tokens or planned_context(spec.context_tokens, options.max_kv_tokens)
    plan = planned(config, weights, options, context, on_processor, has_kv=has_kv)
    if not has_kv or not options.draft_path:
        return plan
    return structs.replace(plan, draft_bytes=draft_bytes(Path(options.draft_path), context))


def draft_bytes(folder: Path, context_tokens: int) -> int:
    """What a draft model in this folder takes beside: it reads one row, at full precision."""
    weights = weights_of(folder)
    shape = kv_shape(config_of(folder), weights.number_bytes)
    return weights.size_bytes + shape.row_bytes(context_tokens)


def planned_context(*bounds: int) -> int:
    """The length that is planned for; a bound of 0 is none."""
    return min(bound for bound in (*bounds, PLANNED_CONTEXT_TOKENS) if bound)


def planned(
    config: dict[str, Any],
    weights: Weights,
    options: LoadOptions,
    context_tokens: int,
    on_processor: bool = False,
    *,
    has_kv: bool = True,
) -> Plan:
    """The plan for one row of so many tokens."""
    shape = kv_shape(config, weights.number_bytes)
    kept = shape.row_bytes(
        context_tokens, options.kv_bits, options.kv_group_size, options.kv_start_tokens
    )
    step = min(options.prefill_step_tokens, context_tokens or options.prefill_step_tokens)
    scores_of = context_tokens if on_processor or options.kv_bits else 0
    if on_processor:
        step = min(step, PROCESSOR_STEP_TOKENS)
    return Plan(
        weights_bytes=weights.size_bytes,
        kv_bytes=kept if has_kv else 0,
        transient_bytes=transient_bytes(
            config, weights.number_bytes, step, scores_of, on_processor=on_processor
        ),
        process_bytes=process_bytes(config),
        prompt_cache_bytes=options.prompt_cache_bytes if has_kv else 0,
        context_tokens=context_tokens if has_kv else 0,
    )


def process_bytes(config: dict[str, Any]) -> int:
    """Of a worker before it reads weights."""
    tokens = number(text_config(config), "vocab_size")
    return LIBRARY_BYTES + TOKEN_BYTES * tokens if tokens else PROCESS_BYTES


def transient_bytes(
    config: dict[str, Any],
    number_bytes: int,
    step_tokens: int,
    scores_of: int,
    *,
    on_processor: bool = False,
) -> int:
    """What one prefill chunk computes beside: activations of a layer, and logits.

    Args:
        scores_of: tokens whose attention scores are all held at once: the context, where no kernel
            keeps them to itself (on a processor, over a quantised cache), else 0.
    """
    text = text_config(config)
    inner = number(text, "moe_intermediate_size") * number(text, "num_experts_per_tok")
    inner = inner or number(text, "intermediate_size", "block_ff_dim") or 4 * hidden(text)
    numbers = HIDDEN_COPIES * hidden(text) + INNER_COPIES * inner + heads(text) * scores_of
    if number(text, "state_size", "ssm_state_size", "mamba_d_state"):
        numbers += INNER_COPIES * SCAN_TOKENS * number(text, "mamba_num_heads", "num_heads")
    factor = HALF_ON_PROCESSOR if on_processor and number_bytes == 2 else 1.0
    logits = LOGIT_BYTES * number(text, "vocab_size")
    return int(step_tokens * numbers * number_bytes * factor) + logits


def largest_context(spec: ModelSpec, room_bytes: int, *, on_processor: bool = False) -> int:
    """The longest row for which all of the plan fits into `room_bytes`; 0 = none does."""
    bounds = (spec.context_tokens, spec.options.max_kv_tokens, LONGEST_CONTEXT_TOKENS)
    low, high = 0, min(bound for bound in bounds if bound)

    def fits(tokens: int) -> bool:
        plan = plan_of(spec, context_tokens=tokens, on_processor=on_processor)
        return plan.needed_bytes <= room_bytes

    if fits(high):
        return high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# -- for models whose files are not here ----------------------------------------------------------


def needed_bytes(folder: Path, config: dict[str, Any], context_tokens: int) -> int:
    """What a worker with this model takes under plain options, on a machine with a GPU."""
    context = planned_context(context_tokens)
    return planned(config, weights_of(folder), LoadOptions(), context).needed_bytes


def kv_bytes_per_token(config: dict[str, Any]) -> int:
    """Keys and values of all layers for one token at 16 bits. 0 where the config does not say."""
    shape = kv_shape(config)
    return shape.growing_bytes + sum(size for _, size in shape.windows)


TRANSIENT_SHARE = 0.05
"""Activations of a prefill chunk as a share of the weights, where the config is not known."""


def planned_bytes(weights: int, kv_per_token: int, context_tokens: int) -> int:
    return int(weights * (1 + TRANSIENT_SHARE)) + kv_per_token * context_tokens + PROCESS_BYTES
