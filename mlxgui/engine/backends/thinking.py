"""A bound on thinking: after so many tokens inside the block its end is all that may come."""

import numpy as np

from mlxgui.engine.backends.drawing import Matcher


class ThinkingBudget:
    """A matcher of its own, which hands on to the row's grammar where there is one. Never raises.

    Args:
        budget: tokens the block may have before it is closed.
        start, end: the token sequences that open and close it.
        is_open: whether the prompt opened it already.
        inner: the row's grammar, which itself waits for the end of the thought.
    """

    def __init__(
        self,
        budget: int,
        start: tuple[int, ...],
        end: tuple[int, ...],
        *,
        is_open: bool,
        inner: Matcher | None = None,
    ) -> None:
        self._budget = budget
        self._start, self._end = start, end
        self._begins_open = self._is_open = is_open
        self._inner = inner
        self._spent = 0
        self._tail: list[int] = []

    @property
    def failure(self) -> str:
        return self._inner.failure if self._inner is not None else ""

    def consume(self, token: int) -> None:
        longest = max(len(self._start), len(self._end))
        self._tail = [*self._tail, token][-longest:]
        if self._is_open:
            self._spent += 1
            self._is_open = not self._ends_with(self._end)
        else:
            self._is_open = self._ends_with(self._start)
        if self._inner is not None:
            self._inner.consume(token)

    def fill(self, bits: np.ndarray) -> None:
        """`bits`: one row of the batch's mask, 32 tokens to a word; all set when it comes in."""
        if self._is_open and self._spent >= self._budget:
            bits[:] = 0
            token = self._next_of_end()
            bits.view(np.uint32)[token >> 5] |= np.uint32(1 << (token & 31))
        elif self._inner is not None:
            self._inner.fill(bits)

    def replay(self, tokens: list[int]) -> None:
        self._is_open, self._spent, self._tail = self._begins_open, 0, []
        inner, self._inner = self._inner, None
        for token in tokens:
            self.consume(token)
        self._inner = inner
        if inner is not None:
            inner.replay(tokens)

    def _ends_with(self, sequence: tuple[int, ...]) -> bool:
        return bool(sequence) and tuple(self._tail[-len(sequence) :]) == sequence

    def _next_of_end(self) -> int:
        """The end may be begun already: by us, or by the model itself."""
        for length in range(len(self._end) - 1, 0, -1):
            if self._ends_with(self._end[:length]):
                return self._end[length]
        return self._end[0]
