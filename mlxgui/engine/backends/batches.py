"""For models that read many short texts: items of several requests go through it together."""

import logging
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from mlxgui.engine.backends import Output
from mlxgui.engine.backends.turns import Prepared, Row, TaskBackend
from mlxgui.engine.errors import EngineError, one_line
from mlxgui.engine.types import Event, Usage

log = logging.getLogger("worker.tasks")

MAX_BATCH_ITEMS = 64
SIMILAR_LENGTH = 0.6
"""An item joins a batch when it is at least so long: what it lacks is padding, computed for
nothing."""


class Item(Struct):
    """One text of a request, as tokens; `index` is its place in the request."""

    index: int
    tokens: list[int]
    types: list[int] = []
    """Which of a pair each token belongs to, for models that are told."""


class Texts(Prepared, kw_only=True):
    items: list[Item]


class BatchBackend(TaskBackend):
    """`work` of a row is its items that are still to do, the longest last."""

    def compute(self, items: Sequence[Item], rows: Sequence[Row]) -> list[Event]:
        """One event for each item; `rows` says whose each one is."""
        raise NotImplementedError

    def add(self, id: int, prepared: Prepared) -> None:
        assert isinstance(prepared, Texts)
        super().add(id, prepared)
        self.rows[id].work = sorted(prepared.items, key=lambda item: len(item.tokens))

    def serve(self, out: list[Output]) -> None:
        chosen = self._take()
        self._run(chosen, out)
        for row in {row.id: row for row, _ in chosen}.values():
            if row.id in self.rows and not row.work:
                self.end(row, out, row.done(Usage(prompt_tokens=row.prepared.prompt_tokens)))

    def _take(self) -> list[tuple[Row, Item]]:
        """The longest item of whose turn it is, and what is about as long, within one step."""
        rows = self.next_rows()
        longest = len(rows[0].work[-1].tokens)
        step_tokens = self.spec.options.prefill_step_tokens
        most = max(1, min(MAX_BATCH_ITEMS, step_tokens // max(longest, 1)))
        chosen: list[tuple[Row, Item]] = []
        for row in rows:
            taken = False
            while len(chosen) < most and (item := _similar(row.work, longest)) is not None:
                chosen.append((row, item))
                taken = True
            if taken:
                self.begin(row)
        return chosen

    def _run(self, chosen: list[tuple[Row, Item]], out: list[Output]) -> None:
        """An item that the model fails on ends its own request and no other."""
        try:
            events = self.compute([item for _, item in chosen], [row for row, _ in chosen])
        except Exception as error:
            log.exception("a batch of %d failed", len(chosen))
            if len(chosen) > 1:
                for one in chosen:
                    self._run([one], out)
                return
            row = chosen[0][0]
            self.end(row, out, _failure(error))
            return
        for (row, _), event in zip(chosen, events, strict=True):
            if row.id in self.rows:
                out.append((row.id, event))


def _similar(items: list[Item], longest: int) -> Item | None:
    """The longest item that is neither longer than the batch nor much shorter."""
    for place in range(len(items) - 1, -1, -1):
        length = len(items[place].tokens)
        if length <= longest:
            return items.pop(place) if length >= longest * SIMILAR_LENGTH else None
    return None


def _failure(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    return EngineError(f"The model failed on this request: {one_line(error)}")


def padded(lists: Sequence[list[int]], filling: int) -> np.ndarray:
    """(items, longest) int32, filled up on the right."""
    width = max(len(one) for one in lists)
    rows = [one + [filling] * (width - len(one)) for one in lists]
    return np.array(rows, dtype=np.int32)


def attention(lists: Sequence[list[int]]) -> np.ndarray:
    """(items, longest) int32: 1 for a token, 0 for padding."""
    return padded([[1] * len(one) for one in lists], 0)
