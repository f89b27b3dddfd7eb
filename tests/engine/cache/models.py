"""One tiny model for each class of cache, and a batch that reuses prompts as the backend does."""

import importlib
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from msgspec import Struct

from mlxgui.engine.cache.prompt_cache import Found, PromptCache
from mlxgui.engine.cache.segments import Layout
from tests.tiny import QWEN3, VOCABULARY, write_weights

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": VOCABULARY,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "full attention": QWEN3,
    "sliding window": {
        **SMALL,
        "model_type": "gemma3_text",
        "num_hidden_layers": 3,
        "sliding_window": 24,
        "sliding_window_pattern": 3,
        "query_pre_attn_scalar": 32,
    },
    "state space": {
        "model_type": "mamba2",
        "num_heads": 4,
        "head_dim": 32,
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "state_size": 16,
        "num_hidden_layers": 2,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "n_groups": 1,
        "use_bias": False,
        "use_conv_bias": True,
        "tie_word_embeddings": False,
        "time_step_limit": [0.0, math.inf],
        "time_step_rank": "auto",
    },
    "mixed in each layer": {
        **SMALL,
        "model_type": "falcon_h1",
        "num_hidden_layers": 2,
        "mamba_d_ssm": 128,
        "mamba_n_heads": 4,
        "mamba_d_head": 32,
        "mamba_d_state": 16,
        "mamba_chunk_size": 16,
    },
    "layers of both": {
        **SMALL,
        "model_type": "lfm2",
        "num_hidden_layers": 3,
        "max_position_embeddings": 2048,
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 64,
        "block_multiple_of": 16,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "layer_types": ["conv", "full_attention", "conv"],
    },
    "linear attention": {
        **SMALL,
        "model_type": "qwen3_next",
        "num_hidden_layers": 4,
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 1,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 64,
        "mlp_only_layers": [],
        "moe_intermediate_size": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "max_position_embeddings": 2048,
    },
}
TRIMMABLE = {"full attention"}


@cache
def model_of(name: str) -> Any:
    config = CONFIGS[name]
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    with TemporaryDirectory() as folder:
        write_weights(Path(folder), config, 0)
        model.load_weights(str(Path(folder) / "model.safetensors"))
        mx.eval(model.parameters())
    model.eval()
    return model


class Answer(Struct):
    tokens: list[int]
    logprobs: list[Any]
    found: Found | None


class Ask(Struct):
    tokens: list[int]
    layout: Layout


def memory(**changes: Any) -> PromptCache:
    plain: dict[str, Any] = {
        "bytes_in_memory": 1 << 28,
        "folder": None,
        "bytes_on_disk": 0,
        "signature": "test",
    }
    return PromptCache(**{**plain, **changes})


def run(
    model: Any, asks: list[Ask], kept: PromptCache | None, *, count: int = 4, step: int = 16
) -> list[Answer]:
    """All side by side, from what is kept and into it; without a cache, cold."""
    generator = BatchGenerator(model, prefill_batch_size=4, prefill_step_size=step)
    answers: dict[int, Answer] = {}
    kinds: dict[int, list[str]] = {}
    known: dict[int, tuple[list[int], int]] = {}
    for ask in asks:
        found = kept.fetch(ask.tokens, ask.layout) if kept else None
        used = found.cached_tokens if found else 0
        segments, kinds_left = behind(ask, used)
        (uid,) = generator.insert_segments(
            [segments],
            [count],
            caches=[found.cache if found else None],
            all_tokens=[ask.tokens[:used]],
        )
        answers[uid], kinds[uid] = Answer([], [], found), kinds_left
        known[uid] = (ask.tokens, used)
    while any(len(answer.tokens) < count for answer in answers.values()):
        prefilled, generated = generator.next()
        for one in prefilled:
            if kept and one.end_of_segment and not one.end_of_prompt and kinds[one.uid]:
                kind: Any = kinds[one.uid].pop(0)
                whole, used = known[one.uid]
                tokens = whole[: used + one.progress[0]]
                if kind != "assistant" and kept.reached(tokens, kind):
                    cache, held = generator.extract_cache([one.uid])[one.uid]
                    assert held == tokens
                    kept.store(tokens, cache, kind)
        for one in generated:
            answers[one.uid].tokens.append(one.token)
            answers[one.uid].logprobs.append(one.logprobs)
            if kept and one.finish_reason:
                kept.store(list(one.all_tokens), one.prompt_cache, "assistant")
    return list(answers.values())


def behind(ask: Ask, used: int) -> tuple[list[list[int]], list[str]]:
    """The segments behind the first tokens, and their kinds."""
    segments, kinds, start = [], [], 0
    for end, kind in ask.layout:
        if end > used:
            segments.append(ask.tokens[max(start, used) : end])
            kinds.append(kind)
        start = end
    return segments, kinds


@cache
def cold(name: str, tokens: tuple[int, ...], count: int = 4) -> Answer:
    ask = Ask(list(tokens), [(len(tokens), "assistant")])
    return run(model_of(name), [ask], None, count=count)[0]


def assert_same(name: str, ask: Ask, answer: Answer) -> None:
    """What was generated from reused states is what a cold start gives."""
    want = cold(name, tuple(ask.tokens), len(answer.tokens))
    assert answer.tokens == want.tokens, (len(ask.tokens), answer.found)
    for got, known in zip(answer.logprobs, want.logprobs, strict=True):
        assert bool(mx.allclose(got, known, rtol=1e-3, atol=2e-3).item()), (
            mx.abs(got - known).max().item(),
            answer.found,
        )
