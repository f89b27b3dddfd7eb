"""A Qwen3 decoder small enough to train with numpy: forward, backward, AdamW.

numpy and not mlx: on a Linux CPU mlx multiplies with the reference BLAS, where this training would
take hours; numpy's own BLAS needs minutes. What is saved is an ordinary MLX model, and a test
compares these gradients with mlx's own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPSILON = 1e-6


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


class Tensor:
    """A value and, after the backward pass, what the loss wants of it."""

    __slots__ = ("data", "grad")

    def __init__(self, data: Array, grad: Array | None = None) -> None:
        self.data = data
        self.grad = grad

    def collect(self, grad: Array) -> None:
        if self.grad is None:
            self.grad = grad
        else:
            self.grad += grad


Tape = list[Callable[[], None]]


# -- operations: each computes forward and puts its backward step on the tape ----------------------


def linear(tape: Tape, x: Tensor, weight: Tensor) -> Tensor:
    out = Tensor(x.data @ weight.data.T)

    def back() -> None:
        x.collect(out.grad @ weight.data)
        weight.collect(out.grad.T @ x.data)

    tape.append(back)
    return out


def rms_norm(tape: Tape, x: Tensor, weight: Tensor) -> Tensor:
    """Over the last `weight.size` columns: whole rows, or head by head."""
    rows = x.data.reshape(-1, weight.data.size)
    scale = 1.0 / np.sqrt(np.einsum("ij,ij->i", rows, rows)[:, None] / rows.shape[1] + EPSILON)
    normed = rows * scale
    out = Tensor((normed * weight.data).reshape(x.data.shape))

    def back() -> None:
        grad = out.grad.reshape(rows.shape)
        weight.collect(np.einsum("ij,ij->j", grad, normed))
        grad = grad * weight.data
        mean = np.einsum("ij,ij->i", grad, normed)[:, None] / rows.shape[1]
        x.collect((scale * (grad - normed * mean)).reshape(x.data.shape))

    tape.append(back)
    return out


def add(tape: Tape, x: Tensor, y: Tensor) -> Tensor:
    out = Tensor(x.data + y.data)

    def back() -> None:
        y.collect(out.grad)
        x.collect(out.grad.copy())

    tape.append(back)
    return out


def swiglu(tape: Tape, gate: Tensor, up: Tensor) -> Tensor:
    sigmoid = 1.0 / (1.0 + np.exp(-gate.data))
    silu = gate.data * sigmoid
    out = Tensor(silu * up.data)

    def back() -> None:
        up.collect(out.grad * silu)
        gate.collect(out.grad * up.data * (sigmoid + silu * (1.0 - sigmoid)))

    tape.append(back)
    return out


def dropout(tape: Tape, x: Tensor, rate: float, random: np.random.Generator) -> Tensor:
    if rate == 0.0:
        return x
    keep = (random.random(x.data.shape, dtype=np.float32) >= rate) / np.float32(1.0 - rate)
    out = Tensor(x.data * keep)
    tape.append(lambda: x.collect(out.grad * keep))
    return out


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def rope(tape: Tape, x: Tensor, length: int, head_dim: int, base: float) -> Tensor:
    steps = np.float32(base) ** (-np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
    angles = np.arange(length, dtype=np.float32)[:, None] * steps
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    split = (-1, length, x.data.shape[1] // head_dim, head_dim)
    out = Tensor(rotate(x.data.reshape(split), cos, sin).reshape(x.data.shape))

    def back() -> None:
        x.collect(rotate(out.grad.reshape(split), cos, -sin).reshape(x.data.shape))

    tape.append(back)
    return out


def attention(tape: Tape, q: Tensor, k: Tensor, v: Tensor, length: int, shape: Shape) -> Tensor:
    """Causal, grouped: the rows of all query heads of one key head stand below each other."""
    groups, dim = shape.heads // shape.kv_heads, shape.head_dim
    scale = np.float32(dim**-0.5)

    def fold(x: Array) -> Array:
        heads = x.reshape(-1, length, shape.kv_heads, groups, dim).transpose(0, 2, 3, 1, 4)
        return heads.reshape(-1, shape.kv_heads, groups * length, dim)

    def unfold(x: Array) -> Array:
        heads = x.reshape(-1, shape.kv_heads, groups, length, dim).transpose(0, 3, 1, 2, 4)
        return heads.reshape(-1, shape.heads * dim)

    def split(x: Array) -> Array:
        return x.reshape(-1, length, shape.kv_heads, dim).transpose(0, 2, 1, 3)

    def join(x: Array) -> Array:
        return x.transpose(0, 2, 1, 3).reshape(-1, shape.kv_heads * dim)

    queries, keys, values = fold(q.data), split(k.data), split(v.data)
    future = np.triu(np.full((length, length), -1e9, dtype=np.float32), 1)
    scores = queries @ keys.swapaxes(-1, -2) * scale + np.tile(future, (groups, 1))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out = Tensor(unfold(weights @ values))

    def back() -> None:
        grad = fold(out.grad)
        v.collect(join(weights.swapaxes(-1, -2) @ grad))
        inner = grad @ values.swapaxes(-1, -2)
        inner = weights * (inner - (inner * weights).sum(axis=-1, keepdims=True)) * scale
        q.collect(unfold(inner @ keys))
        k.collect(join(inner.swapaxes(-1, -2) @ queries))

    tape.append(back)
    return out


def pick(tape: Tape, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Some rows of `x`: the embedding, or the positions that the loss looks at."""
    out = Tensor(x.data[rows])

    def back() -> None:
        spread = np.zeros_like(x.data)
        np.add.at(spread, rows, out.grad)
        x.collect(spread)

    tape.append(back)
    return out


# -- the decoder ----------------------------------------------------------------------------------


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

    def loss(
        self, tokens: NDArray[np.int64], rows: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> float:
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
        logits.grad = chances / np.float32(len(targets))
        for back in reversed(tape):
            back()
        return float(value)

    def logits(
        self, tape: Tape, tokens: NDArray[np.int64], rows: NDArray[np.int64], rate: float = 0.0
    ) -> Tensor:
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
        mixed = attention(tape, turned("q"), turned("k"), values, length, self.shape)
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
