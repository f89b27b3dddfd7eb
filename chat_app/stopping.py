"""Streams that can be stopped from outside, by a route that does not know which they are."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from mlxgui.engine.types import Event

_open: set[asyncio.Event] = set()


@contextlib.contextmanager
def stoppable() -> Iterator[asyncio.Event]:
    """Set by `stop_all` while the block runs."""
    stop = asyncio.Event()
    _open.add(stop)
    try:
        yield stop
    finally:
        _open.discard(stop)


def stop_all() -> int:
    """How many there were."""
    for stop in _open:
        stop.set()
    return len(_open)


async def until(events: AsyncGenerator[Event], stop: asyncio.Event) -> AsyncIterator[Event]:
    """The events, up to the moment that `stop` is set; the request is cancelled then."""
    stopping = asyncio.create_task(stop.wait())
    try:
        async with contextlib.aclosing(events):
            while True:
                event = asyncio.create_task(_next(events))
                try:
                    await asyncio.wait({event, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not event.done():
                        event.cancel()
                        await asyncio.gather(event, return_exceptions=True)
                if event.cancelled() or (found := event.result()) is None:
                    return
                yield found
    finally:
        stopping.cancel()


async def _next(events: AsyncGenerator[Event]) -> Event | None:
    return await anext(events, None)
