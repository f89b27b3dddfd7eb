"""The trained network as an ordinary MLX model folder, and how well that folder answers."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm import batch_generate, load
from tokenizers import Tokenizer

from mlxgui.engine.jobs.starter import vocabulary
from mlxgui.engine.jobs.starter.guide import Entry
from mlxgui.engine.jobs.starter.network import EPSILON, Network

ANSWER_TOKENS = 320
AT_ONCE = 32


def save(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    weights = {name: mx.array(weight.data) for name, weight in network.weights.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    vocabulary.save(tokenizer, folder)
    _write(folder / "config.json", _config(network) | {"eos_token_id": end, "pad_token_id": pad})
    generation = {"do_sample": False, "temperature": 0.0, "max_new_tokens": 512}
    _write(
        folder / "generation_config.json", generation | {"eos_token_id": end, "pad_token_id": pad}
    )


def _config(network: Network) -> dict[str, Any]:
    shape = network.shape
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "max_position_embeddings": vocabulary.CONTEXT_TOKENS,
        "model_type": "qwen3",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": EPSILON,
        "rope_theta": shape.rope_base,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": shape.vocabulary,
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def answers(folder: Path, questions: list[str]) -> list[str]:
    """Greedy answers of the folder as mlx_lm loads it."""
    model, tokenizer = load(str(folder))
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True
        )
        for question in questions
    ]
    found: list[str] = []
    for start in range(0, len(prompts), AT_ONCE):
        part = prompts[start : start + AT_ONCE]
        found += batch_generate(model, tokenizer, part, max_tokens=ANSWER_TOKENS).texts
    return found


def score(folder: Path, asked: list[tuple[str, Entry]]) -> tuple[float, list[str]]:
    """The share of questions whose answer holds the key phrase, and those that failed."""
    texts = answers(folder, [question for question, _ in asked])
    failed = [
        question
        for (question, entry), text in zip(asked, texts, strict=True)
        if not entry.is_answered_by(text)
    ]
    return 1.0 - len(failed) / len(asked), failed
