"""Prompts that come back before their answer, and prompts that are only read."""

import logging
from typing import Any

from mlxgui.engine.backends import Output
from mlxgui.engine.backends.prompts import Prompt
from mlxgui.engine.backends.scoring import Scorer
from mlxgui.engine.errors import EngineError
from mlxgui.engine.types import Done, Finished, Logprobs, Started, Text, TokenProb, Usage

log = logging.getLogger("worker.text")


class Echoes:
    """Stands before a backend's batch. Requests without `echo` and `read_only` pass at once.

    Args:
        model, tokenizer: as `Scorer` wants them.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._scorer = Scorer(model, tokenizer)
        self._scored: dict[int, list[TokenProb]] = {}

    @property
    def is_busy(self) -> bool:
        return self._scorer.is_busy

    def lets(self, id: int, prompt: Prompt, out: list[Output]) -> bool:
        """Whether it goes into the batch now. If not, it is being scored and `step` hands it back,
        or all there is to say about it has been put into `out`."""
        request = prompt.request
        if request.echo and request.logprobs >= 0 and id not in self._scored:
            self._scorer.add(id, prompt)
            return False
        if not request.read_only:
            return True
        out.append((id, Started(len(prompt.tokens))))
        out += self.said(id, prompt)
        out += [(id, Finished("length", index=index)) for index in range(request.n)]
        out.append((id, Done(Usage(len(prompt.tokens)))))
        return False

    def said(self, id: int, prompt: Prompt) -> list[Output]:
        """The prompt as the beginning of each choice; to be called once, behind `Started`."""
        if not prompt.request.echo:
            return []
        probs = self._scored.pop(id, [])
        text = prompt.request.prompt or str(self._tokenizer.decode(prompt.tokens))
        out: list[Output] = []
        for index in range(prompt.request.n):
            if probs:
                out.append((id, Logprobs(probs, index)))
            out.append((id, Text(text, index)))
        return out

    def step(self, out: list[Output]) -> tuple[int, Prompt] | None:
        """Score one more chunk; a request whose prompt is scored now, ready for `lets`."""
        if not self._scorer.is_busy:
            return None
        try:
            job = self._scorer.step()
        except Exception as error:
            log.exception("scoring a prompt failed")
            out.append((self._scorer.failed().id, EngineError(f"The model failed: {error}")))
            return None
        if job is None:
            return None
        self._scored[job.id] = job.probs
        return job.id, job.prompt

    def cancel(self, id: int) -> None:
        self._scorer.cancel(id)
        self._scored.pop(id, None)
