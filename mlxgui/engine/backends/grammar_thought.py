"""What a model may think before the answer that a grammar describes."""

from typing import Literal

from mlxgui.engine.backends.grammar_vocabulary import Vocabulary


class Thought:
    """The free part before the grammar begins. It ends with the model's own end of thinking."""

    def __init__(self, vocabulary: Vocabulary, *, is_open: bool) -> None:
        self._known = vocabulary
        self._phase: Literal["may", "open", "gap", "past"] = "open" if is_open else "may"
        self._matched = 0
        self._last: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        return self._phase == "open"

    @property
    def is_past(self) -> bool:
        return self._phase == "past"

    def takes(self, token: int) -> bool:
        """Whether the token belongs to the thought; the first that does not is the grammar's."""
        match self._phase:
            case "may":
                return self._opens(token)
            case "open":
                self._last = (*self._last, token)[-len(self._known.think_end) :]
                if self._last == self._known.think_end:
                    self._phase = "gap"
                return True
            case "gap":
                self._phase = "past"
                return token in self._known.blanks
        return False

    def _opens(self, token: int) -> bool:
        start = self._known.think_start
        if token != start[self._matched]:
            self._phase = "past"
            return False
        self._matched += 1
        if self._matched == len(start):
            self._phase = "open"
        return True

    @property
    def expects(self) -> int | None:
        """The token that must come, once a start of several tokens has begun."""
        if self._phase == "may" and self._matched:
            return self._known.think_start[self._matched]
        return None

    @property
    def also(self) -> tuple[int, ...]:
        """Tokens allowed beside those of the grammar."""
        if self._phase == "may":
            return self._known.think_start[:1]
        return tuple(self._known.blanks) if self._phase == "gap" else ()
