"""What a decoder is made of: each operation computes forward and tapes its own backward step."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
EPSILON = 1e-6


class Tensor:
    """A value and, after the backward pass, what the loss wants of it."""

    __slots__ = ("_grad", "data")

    def __init__(self, data: Array, grad: Array | None = None) -> None:
        self.data = data
        self._grad = grad

    @property
    def grad(self) -> Array:
        assert self._grad is not None
        return self._grad

    def collect(self, grad: Array) -> None:
        if self._grad is None:
            self._grad = grad
        else:
            self._grad += grad


Tape = list[Callable[[], None]]


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


def attention(
    tape: Tape, q: Tensor, k: Tensor, v: Tensor, length: int, heads: tuple[int, int, int]
) -> Tensor:
    """Causal, grouped: the rows of all query heads of one key head stand below each other.

    `heads`: how many for queries, how many for keys and values, the numbers in each.
    """
    query_heads, kv_heads, dim = heads
    groups = query_heads // kv_heads
    scale = np.float32(dim**-0.5)

    def fold(x: Array) -> Array:
        heads = x.reshape(-1, length, kv_heads, groups, dim).transpose(0, 2, 3, 1, 4)
        return heads.reshape(-1, kv_heads, groups * length, dim)

    def unfold(x: Array) -> Array:
        heads = x.reshape(-1, kv_heads, groups, length, dim).transpose(0, 3, 1, 2, 4)
        return heads.reshape(-1, query_heads * dim)

    def split(x: Array) -> Array:
        return x.reshape(-1, length, kv_heads, dim).transpose(0, 2, 1, 3)

    def join(x: Array) -> Array:
        return x.transpose(0, 2, 1, 3).reshape(-1, kv_heads * dim)

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
