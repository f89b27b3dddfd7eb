"""How likely a prompt's own tokens are: read a chunk a step, so that answers go on in between."""

from collections import deque
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from msgspec import Struct

from mlxgui.engine.backends.prompts import Prompt
from mlxgui.engine.types import TokenProb

CHUNK_TOKENS = 128
"""Logits of a chunk are as wide as the vocabulary: 128 x 150,000 in float32 are 77 MB."""


class Job(Struct, eq=False):
    id: int
    prompt: Prompt
    cache: list[Any]
    probs: list[TokenProb]
    done_tokens: int = 0


class Scorer:
    """Args:
    model: called with tokens of shape (1, n) and a cache; gives logits of shape (1, n, width).
    tokenizer: turns single tokens into text.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._jobs: deque[Job] = deque()

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    def add(self, id: int, prompt: Prompt) -> None:
        first = TokenProb(self._text(prompt.tokens[0]), prompt.tokens[0], float("nan"))
        self._jobs.append(Job(id, prompt, make_prompt_cache(self._model), [first]))

    def cancel(self, id: int) -> None:
        self._jobs = deque(job for job in self._jobs if job.id != id)

    def step(self) -> Job | None:
        """Read the next chunk; the job that is finished with it, if one is.

        When it raises, the job that it read for is `failed()`.
        """
        job = self._jobs[0]
        start, tokens = job.done_tokens, job.prompt.tokens
        end = min(start + CHUNK_TOKENS, len(tokens) - 1)
        if start < end:
            logits = self._model(mx.array(tokens[start:end])[None], cache=job.cache)[0]
            self._note(job, logits.astype(mx.float32), tokens[start + 1 : end + 1])
            job.done_tokens = end
        if job.done_tokens < len(tokens) - 1:
            return None
        return self._jobs.popleft()

    def failed(self) -> Job:
        """The job at the front, which is given up."""
        return self._jobs.popleft()

    def _note(self, job: Job, logits: mx.array, targets: list[int]) -> None:
        """logits: (n, width); targets: the n tokens that came next."""
        scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        drawn = mx.take_along_axis(scores, mx.array(targets)[:, None], axis=-1)[:, 0]
        best = mx.argsort(-scores, axis=-1)[:, : max(job.prompt.request.logprobs, 0)]
        found: tuple[Any, Any, Any] = (
            drawn.tolist(),
            best.tolist(),
            mx.take_along_axis(scores, best, axis=-1).tolist(),
        )
        for token, logprob, others, shares in zip(targets, *found, strict=True):
            alternatives = [
                TokenProb(self._text(other), other, share)
                for other, share in zip(others, shares, strict=True)
            ]
            job.probs.append(TokenProb(self._text(token), token, logprob, alternatives))

    def _text(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))
