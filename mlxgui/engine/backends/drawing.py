"""Drawing tokens: rows that truncate alike in one call, seeded ones with a key per position."""

import copy
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p
from msgspec import structs

from mlxgui.engine.types import Sampling

Processor = Callable[[mx.array, mx.array], mx.array]


class Matcher(Protocol):
    """A grammar's place in one row. Never raises."""

    @property
    def failure(self) -> str:
        """Why it allows only the end of the turn, when it could not go on."""

    def consume(self, token: int) -> None: ...

    def replay(self, tokens: list[int]) -> None:
        """Stand behind these tokens, as after a failed step."""

    def fill(self, bits: np.ndarray) -> None: ...


class RowPlan:
    """What one row asked of its tokens. `position` counts the tokens drawn so far.

    Args:
        vocabulary: width of the logits.
        logprobs: how many alternatives to report beside the drawn token; -1 = no report at all.
        draft: the folder of the model that guesses ahead while the row is alone; empty = none.
        draft_tokens: how many tokens it guesses at a time.
    """

    def __init__(
        self,
        sampling: Sampling,
        vocabulary: int,
        *,
        processors: list[Processor] | None = None,
        matcher: Matcher | None = None,
        logprobs: int = -1,
        position: int = 0,
        draft: str = "",
        draft_tokens: int = 0,
    ) -> None:
        if draft and sampling.seed is None:
            # Guesses are drawn with the keys of the tokens they stand for, so there must be keys.
            sampling = structs.replace(sampling, seed=secrets.randbits(63))
        self.sampling = sampling
        # mlx-lm refuses top_k at or above the vocabulary, where it means nothing anyway.
        self.top_k = sampling.top_k if sampling.top_k < vocabulary else 0
        self.processors = processors or []
        self.matcher = matcher
        self.logprobs = logprobs
        self.position = position
        self.has_begun = False
        self.draft, self.draft_tokens = draft, draft_tokens
        self.drafted = self.accepted = 0

    @property
    def is_free(self) -> bool:
        """Does each token depend on nothing but the logits and its position?"""
        return not self.processors and self.matcher is None

    def at(self, position: int) -> "RowPlan":
        """The same row, about to draw another of its tokens."""
        other = copy.copy(self)
        other.position = position
        return other

    @property
    def group(self) -> tuple[Any, ...]:
        """Rows of one group are drawn in one call."""
        chosen = self.sampling
        if chosen.temperature == 0:
            return ("greedy",)
        xtc = (chosen.xtc_probability, chosen.xtc_threshold) if chosen.xtc_probability else ()
        return (chosen.seed is None, chosen.top_p, chosen.min_p, xtc, self.top_k)


def group_rows(plans: list[RowPlan]) -> list[tuple[list[int], RowPlan]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, plan in enumerate(plans):
        groups.setdefault(plan.group, []).append(i)
    return [(rows, plans[rows[0]]) for rows in groups.values()]


def draw(logits: mx.array, plans: list[RowPlan]) -> mx.array:
    """One token a row, of rows that share a group. Order of truncation as in mlx-lm."""
    first = plans[0]
    chosen = first.sampling
    if chosen.temperature == 0:
        return mx.argmax(logits, axis=-1)
    if 0 < chosen.top_p < 1:  # the only one to whom a constant added to all logits matters
        logits = apply_top_p(logits - mx.logsumexp(logits, axis=-1, keepdims=True), chosen.top_p)
    if chosen.min_p:
        logits = apply_min_p(logits, min(chosen.min_p, 1.0))
    keys = row_keys(plans)
    if chosen.xtc_probability:
        logits = exclude_top_choices(logits, chosen, keys)
    if first.top_k > 0:
        logits = apply_top_k(logits, first.top_k)
    temperatures = mx.array([plan.sampling.temperature for plan in plans])
    scaled = logits / temperatures[:, None]
    return mx.random.categorical(scaled) if keys is None else _draw_keyed(scaled, keys)


def row_keys(plans: list[RowPlan]) -> mx.array | None:
    """(rows, 2) keys of seeded rows; None for unseeded ones, which share mlx's own state."""
    if plans[0].sampling.seed is None:
        return None
    keys = np.array([key(plan.sampling.seed or 0, plan.position) for plan in plans], np.uint64)
    pairs = np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1)
    return mx.array(pairs.astype(np.uint32))


def exclude_top_choices(logits: mx.array, chosen: Sampling, keys: mx.array | None) -> mx.array:
    """XTC: by chance, drop every token above the threshold but the least likely of them.

    Source: p-e-w, "Exclude Top Choices" (text-generation-webui #6335). A draw per row.
    """
    rows = logits.shape[0]
    probs = mx.softmax(logits, axis=-1)
    above = mx.where(probs > chosen.xtc_threshold, probs, mx.inf)
    excluded = probs > above.min(axis=-1, keepdims=True)
    if keys is None:
        luck = mx.random.uniform(shape=(rows, 1))
    else:
        luck = _uniform_keyed(keys ^ _XTC_STREAM)[:, None]
    applies = luck < chosen.xtc_probability
    return mx.where(mx.logical_and(applies, excluded), -mx.inf, logits)


_XTC_STREAM = mx.array([0x5BD1E995, 0x9E3779B9], mx.uint32)
_uniform_keyed = mx.vmap(lambda key: mx.random.uniform(key=key))


_draw_keyed = mx.vmap(lambda logits, key: mx.random.categorical(logits, key=key))


def key(seed: int, position: int) -> int:
    """64 random bits for a seed and a position (splitmix64's finaliser), so that a row's text
    depends on its own request alone: not on its neighbours, nor on a replay."""
    mask = (1 << 64) - 1
    value = (seed * 0x9E3779B97F4A7C15 + position * 0xBF58476D1CE4E5B9 + 1) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return (value ^ (value >> 31)) & mask
