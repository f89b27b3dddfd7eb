"""A waiting line: so many inside at once, so many waiting, higher priority first, then arrival."""

import asyncio
import heapq
import itertools

from mlxgui.engine.errors import EngineError, QueueFull


class Line:
    def __init__(self, places: int, max_waiting: int) -> None:
        self.running = 0
        self._places = places
        self._max_waiting = max_waiting
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()

    @property
    def waiting(self) -> int:
        return sum(not entry[2].done() for entry in self._heap)

    async def enter(self, priority: int = 0) -> None:
        """Returns when it is our turn. Raises QueueFull at once, or what `close` was given."""
        if self.running < self._places:
            self.running += 1
            return
        if self.waiting >= self._max_waiting:
            raise QueueFull()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (-priority, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # our turn came in the same moment: pass it on
            raise

    def leave(self) -> None:
        self.running -= 1
        self._admit()

    def resize(self, places: int, max_waiting: int) -> None:
        self._places, self._max_waiting = places, max_waiting
        self._admit()

    def close(self, error: EngineError) -> None:
        """Send everybody away who waits."""
        for _, _, turn in self._heap:
            if not turn.done():
                turn.set_exception(error)
        self._heap.clear()

    def _admit(self) -> None:
        while self._heap and self.running < self._places:
            _, _, turn = heapq.heappop(self._heap)
            if not turn.done():
                self.running += 1
                turn.set_result(None)
