"""Several requests answered as one: order, numbers, sums, and what happens when one fails."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from chat_app import side_by_side as module
from chat_app.side_by_side import side_by_side
from mlxgui.engine.errors import WorkerDied
from mlxgui.engine.types import Done, Event, Finished, Started, Text, Timing, Usage


class Stream:
    """A request's events, and whether it was closed."""

    running = 0
    most_running = 0

    def __init__(self, *events: Event | Exception) -> None:
        self.events = events
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[Event]:
        Stream.running += 1
        Stream.most_running = max(Stream.most_running, Stream.running)
        try:
            for event in self.events:
                await asyncio.sleep(0)
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            Stream.running -= 1
            self.is_closed = True


def whole(word: str) -> Stream:
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    return Stream(Started(3), Text(word, 1), Finished("stop"), Done(usage, Timing(0, 1, 2)))


async def test_choices_are_counted_on_and_tokens_add_up() -> None:
    streams = [whole("a"), whole("b"), whole("c")]
    events = [event async for event in side_by_side([s() for s in streams], 2)]
    assert isinstance(events[0], Started) and events.count(events[0]) == 1
    assert sorted((e.index, e.text) for e in events if isinstance(e, Text)) == [
        (1, "a"), (3, "b"), (5, "c"),
    ]  # fmt: skip
    assert events[-1] == Done(Usage(9, 6), Timing(0, 1, 2))


async def test_when_one_fails_all_are_cancelled() -> None:
    endless = Stream(Started(3), *[Text("x")] * 100_000)
    failing = Stream(Started(3), Text("y"), WorkerDied())
    with pytest.raises(WorkerDied):
        async for _ in side_by_side([endless(), failing()], 1):
            pass
    assert endless.is_closed and failing.is_closed


async def test_leaving_early_cancels_all() -> None:
    streams = [Stream(Started(3), *[Text("x")] * 100_000) for _ in range(3)]
    merged = side_by_side([s() for s in streams], 1)
    assert isinstance(await anext(merged), Started)
    await anext(merged)
    await merged.aclose()
    assert all(stream.is_closed for stream in streams)


async def test_only_so_many_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    Stream.most_running = 0
    events = [e async for e in side_by_side([whole("x")() for _ in range(10)], 1)]
    assert Stream.most_running == 3 and len([e for e in events if isinstance(e, Text)]) == 10
