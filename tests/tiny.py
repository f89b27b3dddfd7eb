"""Tiny real models for tests: random weights, a small byte-level tokenizer, run on any processor.

They speak nonsense, the same nonsense each time. Made through mlx-lm's own model classes, so every
architecture that mlx-lm knows can be had by naming its config.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TEMPLATE = """
{%- if tools -%}
{{- '<|im_start|>system\\nTools: ' -}}
{%- for tool in tools -%}{{- tool | tojson -}}{%- endfor -%}
{{- '\\nCall one as <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
{%- for call in message.tool_calls or [] -%}
{%- set tool_call = call.function -%}
{{- '<tool_call>' + {'name': tool_call.name, 'arguments': tool_call.arguments} | tojson -}}
{{- '</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if THINKS and enable_thinking is defined and not enable_thinking -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
{%- endif -%}
""".strip()

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKUP = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
VOCABULARY = 512

QWEN3: dict[str, Any] = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": VOCABULARY,
}

# Every second layer sees only the last 16 tokens: a rotating cache, which cannot be cut once full.
GEMMA3: dict[str, Any] = {
    "model_type": "gemma3_text",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "sliding_window": 16,
    "sliding_window_pattern": 2,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_local_base_freq": 10000.0,
    "vocab_size": VOCABULARY,
}
# Convolutions beside attention: a state that holds no single tokens, so it cannot be cut at all.
LFM2: dict[str, Any] = {
    "model_type": "lfm2",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "full_attn_idxs": [1, 3],
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "norm_eps": 1e-5,
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_dim": 64,
    "block_ff_dim": 128,
    "block_multiple_of": 32,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
    "rope_theta": 10000.0,
    "vocab_size": VOCABULARY,
}
# State space only.
MAMBA2: dict[str, Any] = {
    "model_type": "mamba2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_heads": 4,
    "head_dim": 32,
    "state_size": 16,
    "conv_kernel": 4,
    "n_groups": 1,
    "use_bias": False,
    "use_conv_bias": True,
    "layer_norm_epsilon": 1e-5,
    "time_step_limit": [0.001, 100.0],
    "time_step_rank": "auto",
    "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
    "vocab_size": VOCABULARY,
}
ARCHITECTURES = {"qwen3": QWEN3, "gemma3": GEMMA3, "lfm2": LFM2, "mamba2": MAMBA2}


def make_text_model(
    folder: Path, config: dict[str, Any] = QWEN3, *, seed: int = 0, thinking: bool = False
) -> Path:
    """A model folder like those of the hub, with random weights that decode decisively."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder, MARKUP if thinking else MARKUP[2:])
    end = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    (folder / "config.json").write_text(json.dumps({**config, **end}, indent=1))
    write_weights(folder, config, seed)
    return folder


def write_tokenizer(folder: Path, markup: list[str]) -> dict[str, int]:
    """Byte-level BPE trained on the standard library's help texts; returns token ids by text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(markup),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in markup])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE.replace("THINKS", str("<think>" in markup).lower())
    fast.save_pretrained(folder)
    return dict(fast.get_vocab())


def corpus() -> Iterator[str]:
    from pydoc_data.topics import topics

    return itertools.islice((topics[key] for key in sorted(topics)), 20)


def write_weights(folder: Path, config: dict[str, Any], seed: int) -> None:
    import importlib

    import mlx.core as mx
    from mlx.utils import tree_flatten

    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    random = np.random.default_rng(seed)
    weights = {
        name: mx.array(_random(name, array.shape, random))
        for name, array in tree_flatten(model.parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def _random(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    """Unit-size embeddings and wide logits: greedy decoding is decisive, sampling still varies."""
    if "norm" in name and len(shape) == 1:
        return np.ones(shape, np.float32)
    gain = 8.0 if "embed" in name else 2.5 if "lm_head" in name else 1.0
    scale = gain / np.sqrt(shape[-1])
    return (random.standard_normal(shape) * scale).astype(np.float32)
