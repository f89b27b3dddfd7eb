"""A waiting line: so many inside at once, so many waiting, higher priority first, then arrival."""

import asyncio
import itertools

from mlxgui.engine.errors import EngineError, QueueFull


class Turn:
    """One who waits. `name` is what the others know it by; several may share one."""

    def __init__(self, name: str, priority: int, arrival: int) -> None:
        self.name = name
        self.priority = priority
        self.arrival = arrival
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def order(self) -> tuple[int, int]:
        return -self.priority, self.arrival


class Line:
    def __init__(self, places: int, max_waiting: int) -> None:
        self.running = 0
        self._places = places
        self._max_waiting = max_waiting
        self._turns: list[Turn] = []
        self._arrivals = itertools.count()

    @property
    def waiting(self) -> int:
        return sum(not turn.come.done() for turn in self._turns)

    async def enter(self, priority: int = 0, name: str = "") -> None:
        """Returns when it is our turn. Raises QueueFull at once, or what `close` was given."""
        if self.running < self._places:
            self.running += 1
            return
        if self.waiting >= self._max_waiting:
            raise QueueFull()
        turn = Turn(name, priority, next(self._arrivals))
        self._turns.append(turn)
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn.come.done() and not turn.come.cancelled() and turn.come.exception() is None:
                self.leave()  # our turn came in the same moment: pass it on
            raise

    def leave(self) -> None:
        self.running -= 1
        self._admit()

    def resize(self, places: int, max_waiting: int) -> None:
        self._places, self._max_waiting = places, max_waiting
        self._admit()

    def reprioritise(self, name: str, priority: int) -> bool:
        """Move those of this name to where the new priority puts them. False: none waits."""
        found = [turn for turn in self._turns if turn.name == name and not turn.come.done()]
        for turn in found:
            turn.priority = priority
        return bool(found)

    def position(self, name: str) -> int:
        """1 = next; 0 = none of this name waits."""
        waiting = sorted((t for t in self._turns if not t.come.done()), key=lambda t: t.order)
        return next((i for i, turn in enumerate(waiting, 1) if turn.name == name), 0)

    def close(self, error: EngineError) -> None:
        """Send everybody away who waits."""
        for turn in self._turns:
            if not turn.come.done():
                turn.come.set_exception(error)
        self._turns.clear()

    def _admit(self) -> None:
        self._turns = [turn for turn in self._turns if not turn.come.done()]
        while self._turns and self.running < self._places:
            turn = min(self._turns, key=lambda one: one.order)
            self._turns.remove(turn)
            self.running += 1
            turn.come.set_result(None)
