"""A Qwen3 decoder small enough to train with numpy: forward, backward, AdamW.

numpy and not mlx: on a Linux CPU mlx multiplies with the reference BLAS, where this training would
take hours; numpy's own BLAS needs minutes. What is saved is an ordinary MLX model, and a test
compares these gradients with mlx's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlxgui.engine.jobs.starter.operations import (
    EPSILON,
    Tape,
    Tensor,
    add,
    attention,
    dropout,
    linear,
    pick,
    rms_norm,
    rope,
    swiglu,
)

__all__ = ["EPSILON", "AdamW", "Network", "Shape", "weight_shapes"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 2048
    hidden: int = 128
    layers: int = 4
    inner: int = 384
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    rope_base: float = 10000.0

    @property
    def split(self) -> tuple[int, int, int]:
        return self.heads, self.kv_heads, self.head_dim


class Network:
    """Weights live in one flat array, so that the optimizer is a handful of vector operations."""

    def __init__(self, shape: Shape, seed: int, dropout_rate: float = 0.0) -> None:
        self.shape = shape
        self.dropout_rate = dropout_rate
        self.random = np.random.default_rng(seed)
        sizes = weight_shapes(shape)
        total = sum(int(np.prod(size)) for size in sizes.values())
        self.flat = np.ones(total, dtype=np.float32)
        self.gradient = np.zeros(total, dtype=np.float32)
        self.decay = np.zeros(total, dtype=np.float32)
        self.weights: dict[str, Tensor] = {}
        start = 0
        for name, size in sizes.items():
            span = slice(start, start := start + int(np.prod(size)))
            self.weights[name] = Tensor(
                self.flat[span].reshape(size), self.gradient[span].reshape(size)
            )
            if len(size) == 2:
                self.flat[span] = self.random.normal(
                    0.0, deviation(name, shape), span.stop - span.start
                )
                self.decay[span] = 1.0

    def loss(self, tokens: Ids, rows: Ids, targets: Ids) -> float:
        """Mean cross-entropy at `rows` (flat positions) against `targets`; fills `gradient`."""
        self.gradient[:] = 0.0
        tape: Tape = []
        logits = self.logits(tape, tokens, rows, self.dropout_rate)
        scores = logits.data - logits.data.max(axis=-1, keepdims=True)
        chances = np.exp(scores)
        chances /= chances.sum(axis=-1, keepdims=True)
        index = np.arange(len(targets))
        value = -np.log(np.maximum(chances[index, targets], 1e-30)).mean()
        chances[index, targets] -= 1.0
        logits.collect(chances / np.float32(len(targets)))
        for back in reversed(tape):
            back()
        return float(value)

    def logits(self, tape: Tape, tokens: Ids, rows: Ids, rate: float = 0.0) -> Tensor:
        embedding = self.weights["model.embed_tokens.weight"]
        x = dropout(tape, pick(tape, embedding, tokens.reshape(-1)), rate, self.random)
        for layer in range(self.shape.layers):
            x = self._layer(tape, x, f"model.layers.{layer}.", tokens.shape[1], rate)
        x = rms_norm(tape, pick(tape, x, rows), self.weights["model.norm.weight"])
        return linear(tape, x, embedding)

    def _layer(self, tape: Tape, x: Tensor, prefix: str, length: int, rate: float) -> Tensor:
        def weight(name: str) -> Tensor:
            return self.weights[f"{prefix}{name}.weight"]

        def turned(name: str) -> Tensor:
            projected = linear(tape, normed, weight(f"self_attn.{name}_proj"))
            projected = rms_norm(tape, projected, weight(f"self_attn.{name}_norm"))
            return rope(tape, projected, length, self.shape.head_dim, self.shape.rope_base)

        normed = rms_norm(tape, x, weight("input_layernorm"))
        values = linear(tape, normed, weight("self_attn.v_proj"))
        mixed = attention(tape, turned("q"), turned("k"), values, length, self.shape.split)
        mixed = linear(tape, mixed, weight("self_attn.o_proj"))
        x = add(tape, x, dropout(tape, mixed, rate, self.random))
        normed = rms_norm(tape, x, weight("post_attention_layernorm"))
        gate = linear(tape, normed, weight("mlp.gate_proj"))
        inner = swiglu(tape, gate, linear(tape, normed, weight("mlp.up_proj")))
        inner = linear(tape, inner, weight("mlp.down_proj"))
        return add(tape, x, dropout(tape, inner, rate, self.random))


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every weight, named as mlx_lm's Qwen3 names it. Embeddings are tied."""
    wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (shape.hidden,),
        "self_attn.q_proj": (wide, shape.hidden),
        "self_attn.k_proj": (narrow, shape.hidden),
        "self_attn.v_proj": (narrow, shape.hidden),
        "self_attn.o_proj": (shape.hidden, wide),
        "self_attn.q_norm": (shape.head_dim,),
        "self_attn.k_norm": (shape.head_dim,),
        "post_attention_layernorm": (shape.hidden,),
        "mlp.gate_proj": (shape.inner, shape.hidden),
        "mlp.up_proj": (shape.inner, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.inner),
    }
    sizes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (shape.vocabulary, shape.hidden)
    }
    for index in range(shape.layers):
        sizes |= {f"model.layers.{index}.{name}.weight": size for name, size in layer.items()}
    return sizes | {"model.norm.weight": (shape.hidden,)}


def deviation(name: str, shape: Shape) -> float:
    """Smaller where a branch joins the residual stream, so that depth does not blow it up."""
    joins = name.endswith(("o_proj.weight", "down_proj.weight"))
    return 0.04 / (2 * shape.layers) ** 0.5 if joins else 0.04


class AdamW:
    def __init__(self, network: Network, decay: float = 0.1, clip: float = 1.0) -> None:
        self.network = network
        self.decay = decay
        self.clip = clip
        self.mean = np.zeros_like(network.flat)
        self.square = np.zeros_like(network.flat)
        self.step_count = 0

    def step(self, rate: float, beta1: float = 0.9, beta2: float = 0.98) -> None:
        self.step_count += 1
        network, gradient = self.network, self.network.gradient
        norm = float(np.sqrt(gradient @ gradient))
        if norm > self.clip:
            gradient *= self.clip / norm
        self.mean += (1 - beta1) * (gradient - self.mean)
        self.square += (1 - beta2) * (gradient * gradient - self.square)
        step = self.mean / (1 - beta1**self.step_count)
        step /= np.sqrt(self.square / (1 - beta2**self.step_count)) + 1e-8
        network.flat -= rate * (step + self.decay * network.decay * network.flat)
