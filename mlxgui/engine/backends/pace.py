"""Whether guesses of a draft model save time, by the clock."""

from collections import deque
from statistics import median
from typing import Any

STEPS_TO_KNOW = 4
STEPS_KEPT = 9
ROUNDS = 8
PAUSE_TOKENS, MAX_PAUSE_TOKENS = 64, 1024


class Pace:
    """Compares seconds per token with guesses and without, over a window of rounds.

    While guesses lose, none are made for some tokens, twice as many each time it happens again.
    """

    def __init__(self) -> None:
        self._plain: deque[float] = deque(maxlen=STEPS_KEPT)
        self._seconds, self._tokens, self._rounds = 0.0, 0, 0
        self._warm = False
        self._pause = PAUSE_TOKENS
        self._left = 0
        self.guessed_seconds = 0.0

    @property
    def is_off(self) -> bool:
        return self._left > 0 or len(self._plain) < STEPS_TO_KNOW

    @property
    def plain_seconds(self) -> float:
        """Of one token without guesses; 0 = not known."""
        return median(self._plain) if self._plain else 0.0

    def saw_step(self, seconds: float) -> None:
        """One token without a guess."""
        self._plain.append(seconds)
        self._left = max(0, self._left - 1)

    def saw_round(self, seconds: float, tokens: int) -> None:
        if not self._warm:  # the first one compiles kernels
            self._warm = True
            return
        self._seconds += seconds
        self._tokens += tokens
        self._rounds += 1
        if self._rounds < ROUNDS:
            return
        self.guessed_seconds = self._seconds / self._tokens
        self._seconds, self._tokens, self._rounds = 0.0, 0, 0
        if self.guessed_seconds < self.plain_seconds:
            self._pause = PAUSE_TOKENS
        else:
            self._left, self._pause = self._pause, min(2 * self._pause, MAX_PAUSE_TOKENS)
            self._plain.clear()

    def stats(self) -> dict[str, Any]:
        return {
            "is_paused": self._left > 0,
            "seconds_per_token": self.plain_seconds,
            "seconds_per_token_with_draft": self.guessed_seconds,
        }
