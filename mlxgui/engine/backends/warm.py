"""System prompts that are read into the prompt cache before anybody asks, while nothing runs."""

import logging

from mlxgui.engine.types import GenerationRequest, Message

log = logging.getLogger("worker.text")

LOWEST_PRIORITY = -1000
"""A real request that comes meanwhile goes first, chunk by chunk."""


class WarmPrompts:
    """Requests of the worker's own. Their ids are negative: nobody waits for their events.

    A conversation shares its system prompt with another wherever the model's template puts the
    first question, so each is read with a question behind it.
    """

    def __init__(self, prompts: list[str], has_template: bool) -> None:
        # Without a template a prompt has no part of its own that another could begin with.
        self._left = [text for text in prompts if text.strip()] if has_template else []

    def next(self) -> tuple[int, GenerationRequest] | None:
        """(id, request); None when all are read."""
        if not self._left:
            return None
        id = -len(self._left)
        text = self._left.pop(0)
        log.info("reading a system prompt of %d characters ahead", len(text))
        return id, GenerationRequest(
            messages=[Message("system", text), Message("user", ".")],
            max_tokens=1,
            priority=LOWEST_PRIORITY,
        )
