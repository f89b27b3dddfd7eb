"""How fast prompts are read, by the clock: chunks are sized by it."""

import time

FIRST_GUESS_TOKENS_PER_SECOND = 2000.0
FEWEST_TOKENS = 32
"""Fewer say nothing about many."""
SHARE = 0.3
"""How much of the estimate a new measurement is."""


class PrefillSpeed:
    """Measured from the start of a chunk to its end, or to the first token behind a prompt: its
    last chunk is not waited for."""

    def __init__(self, tokens_per_second: float = FIRST_GUESS_TOKENS_PER_SECOND) -> None:
        self.tokens_per_second = tokens_per_second
        self._tokens, self._started = 0, 0.0

    def tokens_in(self, seconds: float) -> int:
        return int(self.tokens_per_second * seconds)

    def began(self, tokens: int, started: float) -> None:
        """So many tokens are read since then."""
        self._tokens, self._started = tokens, started

    def ended(self) -> None:
        """They are read now."""
        if self._tokens >= FEWEST_TOKENS:
            speed = self._tokens / max(time.perf_counter() - self._started, 1e-6)
            self.tokens_per_second += SHARE * (speed - self.tokens_per_second)
        self._tokens = 0
