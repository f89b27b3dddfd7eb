"""The pool with real children on the fake backend."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import aclosing

import psutil
import pytest

from mlxgui.engine import pool as pool_module
from mlxgui.engine.errors import (
    BadRequest,
    EngineError,
    LoadFailed,
    ModelUnloaded,
    NotEnoughMemory,
    QueueFull,
    ShuttingDown,
    TimedOut,
    WorkerDied,
)
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Done, Event, Finished, GenerationRequest, Started, Text
from tests.conftest import ask, fake


async def collect(pool: ModelPool, spec: ModelSpec, request: GenerationRequest) -> list[Event]:
    return [event async for event in pool.generate(spec, request)]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


async def test_a_request_loads_its_model_and_streams_from_started_to_done(pool: ModelPool) -> None:
    events = await collect(pool, fake("echo"), ask("hello big world"))
    assert isinstance(events[0], Started)
    assert text_of(events) == "hello big world"
    assert events[-2] == Finished("stop")
    assert isinstance(events[-1], Done) and events[-1].usage.total_tokens == 6
    (resident,) = pool.residents()
    assert (resident.state, resident.in_flight, resident.name) == ("ready", 0, "fake-echo")


async def test_callers_that_arrive_together_share_one_load(pool: ModelPool) -> None:
    spec = fake("sleepy")
    results = await asyncio.gather(*(collect(pool, spec, ask(f"word{i}")) for i in range(8)))
    assert [text_of(events) for events in results] == [f"word{i}" for i in range(8)]
    assert len({resident.pid for resident in pool.residents()}) == 1


async def test_a_refused_request_raises_before_the_first_event(pool: ModelPool) -> None:
    with pytest.raises(BadRequest) as caught:
        await collect(pool, fake("echo"), ask("   "))
    assert caught.value.param == "messages"
    assert text_of(await collect(pool, fake("echo"), ask("next"))) == "next"


async def test_a_failed_load_is_remembered_and_leaves_nothing(pool: ModelPool) -> None:
    with pytest.raises(LoadFailed):
        await pool.load(fake("broken"))
    assert pool.residents() == []
    assert "never loads" in pool.failures["broken"]


async def test_a_killed_worker_fails_its_streams_and_the_next_request_starts_another(
    pool: ModelPool,
) -> None:
    spec = fake("slow")
    stream = pool.generate(spec, ask("a b c d e f g h i j k l m n o p"))
    seen = [await anext(stream), await anext(stream)]
    assert isinstance(seen[0], Started)
    first = pool.residents()[0].pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(WorkerDied):
        async with asyncio.timeout(2):
            async for _ in stream:
                pass
    assert text_of(await collect(pool, spec, ask("again"))) == "again"
    assert pool.residents()[0].pid != first


async def test_a_worker_that_crashes_by_itself_is_not_listed_any_more(pool: ModelPool) -> None:
    with pytest.raises(WorkerDied):
        await collect(pool, fake("crash"), ask("a b c d e f"))
    assert pool.residents() == []


async def test_leaving_a_stream_cancels_the_request_in_the_child(pool: ModelPool) -> None:
    spec = fake("slow")
    async with aclosing(pool.generate(spec, ask("word " * 200))) as stream:
        await anext(stream)
        assert pool.residents()[0].in_flight == 1
    assert pool.residents()[0].in_flight == 0
    async with asyncio.timeout(2):
        while (await pool.call(spec, "stats"))["in_flight"]:
            await asyncio.sleep(0.01)


async def test_requests_beyond_the_bound_wait_and_a_full_line_refuses(pool: ModelPool) -> None:
    pool.apply(Limits(max_requests=1, max_waiting=1))
    spec = fake("slow")
    first = pool.generate(spec, ask("a b c"))
    await anext(first)
    second = asyncio.create_task(collect(pool, spec, ask("second")))
    await until(lambda: pool.residents()[0].waiting == 1)
    with pytest.raises(QueueFull):
        await collect(pool, spec, ask("third"))
    assert text_of([event async for event in first]) == "a b c"
    assert text_of(await second) == "second"


async def test_a_time_limit_ends_a_deaf_model(pool: ModelPool) -> None:
    with pytest.raises(TimedOut):
        await collect(pool, fake("deaf"), ask("hello", timeout_seconds=0.6))
    assert pool.residents()[0].in_flight == 0


async def test_the_least_recently_used_model_makes_room(pool: ModelPool) -> None:
    pool.apply(Limits(max_models=2))
    for mode in ("echo", "slow"):
        await collect(pool, fake(mode), ask("x"))
    await collect(pool, fake("echo"), ask("x"))
    await collect(pool, fake("sleepy"), ask("x"))
    assert {resident.path for resident in pool.residents()} == {"echo", "sleepy"}


async def test_a_busy_model_is_waited_for_not_cut_off(pool: ModelPool) -> None:
    pool.apply(Limits(max_models=1))
    first = asyncio.create_task(collect(pool, fake("slow"), ask("one two three four")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].in_flight == 1)
    second = await collect(pool, fake("echo"), ask("after"))
    assert text_of(second) == "after"
    assert text_of(await first) == "one two three four"


async def test_what_never_fits_is_refused_with_its_numbers(pool: ModelPool) -> None:
    pool.apply(Limits(usable_bytes=8 << 30))
    with pytest.raises(NotEnoughMemory, match=r"requires 32.0 GB but you have 8.0 GB"):
        await pool.load(fake("echo", memory_bytes=32 << 30))
    assert pool.residents() == []


async def test_unloading_ends_the_process_and_its_streams(pool: ModelPool) -> None:
    spec = fake("slow")
    stream = pool.generate(spec, ask("word " * 100))
    await anext(stream)
    pid = pool.residents()[0].pid
    assert await pool.unload("fake-slow")
    assert not psutil.pid_exists(pid)
    with pytest.raises(ModelUnloaded):
        async for _ in stream:
            pass
    assert not await pool.unload("fake-slow")


async def test_an_idle_model_is_unloaded_and_a_kept_one_stays(pool: ModelPool) -> None:
    await pool.load(fake("echo"))
    await pool.load(fake("slow", keep_alive_seconds=-1.0))
    pids = {resident.path: resident.pid for resident in pool.residents()}
    both = children_bytes()
    pool.apply(Limits(idle_seconds=0.1))
    await until(lambda: [r.path for r in pool.residents()] == ["slow"])
    await until(lambda: not psutil.pid_exists(pids["echo"]))
    assert psutil.pid_exists(pids["slow"])
    # What the one had is the machine's again; the other still has its own.
    assert 0.3 * both < children_bytes() < 0.7 * both


def children_bytes() -> int:
    """Resident memory of the workers."""
    children = psutil.Process().children(recursive=True)
    found = 0
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends while we look
            if "mlxgui.engine.worker" in child.cmdline():
                found += child.memory_info().rss
    return found


async def test_auto_unload_can_be_switched_off(pool: ModelPool) -> None:
    pool.apply(Limits(idle_seconds=0.1, auto_unload=False))
    await pool.load(fake("echo"))
    await asyncio.sleep(pool_module.SWEEP_SECONDS + 0.3)
    assert len(pool.residents()) == 1


async def test_closing_ends_every_child_and_refuses_what_comes(pool: ModelPool) -> None:
    await pool.load(fake("echo"))
    stream = pool.generate(fake("slow"), ask("word " * 100))
    await anext(stream)
    pids = [resident.pid for resident in pool.residents()]
    await pool.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(EngineError) as caught:
        async for _ in stream:
            pass
    assert isinstance(caught.value, ShuttingDown)
    with pytest.raises(ShuttingDown):
        await pool.load(fake("echo"))


async def test_closing_while_a_model_loads_ends_its_process_too(pool: ModelPool) -> None:
    load = asyncio.create_task(pool.load(fake("sleepy")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].pid > 0)
    pid = pool.residents()[0].pid
    await pool.close()
    with pytest.raises(EngineError):
        await load
    assert not psutil.pid_exists(pid)
    assert pool.residents() == []


async def test_a_worker_leaves_when_its_parent_does(pool: ModelPool) -> None:
    await pool.load(fake("echo"))
    (place,) = pool._places.values()
    assert place.worker is not None
    process = psutil.Process(place.worker.pid)
    place.worker._stdin.close()  # what the kernel does when the parent dies
    await until(lambda: not process.is_running())


async def test_unread_text_is_joined_into_one_event(pool: ModelPool) -> None:
    stream = pool.generate(fake("echo"), ask("a b c d e f g h"))
    await anext(stream)
    while (await pool.call(fake("echo"), "stats"))["in_flight"]:  # all is said, nobody has read it
        await asyncio.sleep(0.01)
    rest = [event async for event in stream]
    assert [type(event) for event in rest] == [Text, Finished, Done]
