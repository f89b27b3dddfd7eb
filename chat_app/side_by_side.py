"""Several requests that are answered as one: one stream of events, choices counted on."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from msgspec.structs import replace

from mlxgui.engine.types import Done, Event, Started, Timing, Usage

AT_ONCE = 8
"""So many run side by side; the others follow as these end, so that one call cannot fill a model's
waiting line."""
AHEAD = 64
"""Events that may wait for a slow reader."""

Item = tuple[int, Event | BaseException | None]


def side_by_side(streams: list[AsyncGenerator[Event]], n: int) -> AsyncGenerator[Event]:
    """Each stream has `n` choices: those of the second are numbered from n on, and so forth.

    The first event is one `Started`, the last one `Done` for all of them together. When one fails
    all are cancelled and its error is raised.
    """
    return streams[0] if len(streams) == 1 else _merged(streams, n)


async def _merged(streams: list[AsyncGenerator[Event]], n: int) -> AsyncGenerator[Event]:
    queue: asyncio.Queue[Item] = asyncio.Queue(AHEAD)
    gate = asyncio.Semaphore(AT_ONCE)
    feeding = [
        asyncio.create_task(_feed(queue, gate, place, stream))
        for place, stream in enumerate(streams)
    ]
    ends: list[Done] = []
    has_started = False
    try:
        open_streams = len(streams)
        while open_streams:
            place, item = await queue.get()
            match item:
                case None:
                    open_streams -= 1
                case BaseException():
                    raise item
                case Done():
                    ends.append(item)
                case Started():
                    if not has_started:
                        has_started = True
                        yield item
                case _:
                    yield _moved(item, place * n)
        yield _together(ends)
    finally:
        for task in feeding:
            task.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)


async def _feed(
    queue: asyncio.Queue[Item],
    gate: asyncio.Semaphore,
    place: int,
    stream: AsyncGenerator[Event],
) -> None:
    async with gate, contextlib.aclosing(stream):
        try:
            async for event in stream:
                await queue.put((place, event))
            await queue.put((place, None))
        except Exception as error:
            await queue.put((place, error))


def _moved(event: Event, by: int) -> Event:
    index = getattr(event, "index", None)
    return event if index is None else replace(event, index=index + by)


def _together(ends: list[Done]) -> Done:
    """Tokens add up; times do not, since the requests ran side by side."""
    usages = [end.usage for end in ends]
    timings = [end.timing for end in ends]
    return Done(
        Usage(*(sum(getattr(one, name) for one in usages) for name in Usage.__struct_fields__)),
        Timing(*(max(getattr(one, name) for one in timings) for name in Timing.__struct_fields__)),
    )
