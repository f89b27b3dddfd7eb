"""After a failed step: who comes back at once, who one at a time, and who does not."""

from collections import deque

from mlxgui.engine.backends.rows import Row

MAX_FAILURES = 3
"""A request that was in flight at so many failed steps is given up, whoever caused them."""


class Trials:
    """Which request made a step fail is not known, so those in flight come back one at a time. When
    a step fails with one on trial, that one is the culprit; those that passed go on at once."""

    def __init__(self) -> None:
        self._waiting: deque[Row] = deque()
        self._current: Row | None = None

    def next(self) -> Row | None:
        """The one whose turn it is, when no other is on trial."""
        if self._current is not None or not self._waiting:
            return None
        self._current = self._waiting.popleft()
        return self._current

    def passed(self, row: Row) -> None:
        """A whole step went well with it."""
        if row is self._current:
            self._current = None

    def leave(self, row: Row) -> bool:
        """It was cancelled. True: it was waiting, so it is in no batch."""
        self.passed(row)
        if row not in self._waiting:
            return False
        self._waiting.remove(row)
        return True

    def failed(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """A step failed with these in flight; returns (those to give up, those to go on now)."""
        culprit, self._current = self._current, None
        survivors = [row for row in rows if row not in self._waiting]
        if culprit is not None:
            return [culprit], [row for row in survivors if row is not culprit]
        given_up = []
        for row in survivors:
            row.failures += 1
            if row.failures > MAX_FAILURES or (len(row.choices) > 1 and row.first_token_at):
                # Choices share one prefill; once they differ there is no one prompt to replay.
                given_up.append(row)
            else:
                self._waiting.append(row)
        return given_up, []
