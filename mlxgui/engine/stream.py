"""The events of one request on their way from a worker to whoever asked."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from mlxgui.engine.errors import EngineError
from mlxgui.engine.types import Done, Event, Text, Thinking


class Stream:
    """The events of one request, as they come. Text that piles up unread becomes one event."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._events: deque[Event] = deque()
        self._error: EngineError | None = None
        self._arrived = asyncio.Event()
        self.ended = False
        self.last_at = time.monotonic()

    def push(self, event: Event) -> None:
        self.last_at = time.monotonic()
        last = self._events[-1] if self._events else None
        if isinstance(event, Text | Thinking) and type(last) is type(event):
            assert isinstance(last, Text | Thinking)
            if last.index == event.index:
                self._events[-1] = type(event)(last.text + event.text, event.index)
                return
        self._events.append(event)
        self.ended = self.ended or isinstance(event, Done)
        self._arrived.set()

    def fail(self, error: EngineError) -> None:
        if not self.ended:
            self._error = error
            self.ended = True
            self._arrived.set()

    async def events(self) -> AsyncIterator[Event]:
        """Until `Done`. Raises the EngineError that ended it otherwise."""
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if isinstance(event, Done):
                    return
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
