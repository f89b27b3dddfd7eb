import asyncio

import pytest

from mlxgui.engine.errors import ModelUnloaded, QueueFull
from mlxgui.engine.line import Line


async def waiter(line: Line, name: str, order: list[str], priority: int = 0) -> None:
    await line.enter(priority)
    order.append(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_higher_priority_goes_first_then_arrival() -> None:
    line, order = Line(1, 10), list[str]()
    await line.enter()
    names = [("late", 0), ("urgent", 5), ("later", 0), ("batch", -5)]
    tasks = [asyncio.create_task(waiter(line, n, order, p)) for n, p in names]
    await settle()
    assert line.waiting == 4
    for _ in names:
        line.leave()
        await settle()
    assert order == ["urgent", "late", "later", "batch"]
    await asyncio.gather(*tasks)


async def test_a_full_line_refuses_at_once() -> None:
    line = Line(1, 1)
    await line.enter()
    task = asyncio.create_task(line.enter())
    await settle()
    with pytest.raises(QueueFull):
        await line.enter()
    task.cancel()


async def test_one_who_leaves_the_line_frees_the_place_behind() -> None:
    line, order = Line(1, 2), list[str]()
    await line.enter()
    gone = asyncio.create_task(waiter(line, "gone", order))
    stays = asyncio.create_task(waiter(line, "stays", order))
    await settle()
    gone.cancel()
    await settle()
    assert line.waiting == 1
    line.leave()
    await stays
    assert order == ["stays"]
    assert line.running == 1


async def test_a_turn_that_comes_while_leaving_is_passed_on() -> None:
    line, order = Line(1, 2), list[str]()
    await line.enter()
    gone = asyncio.create_task(waiter(line, "gone", order))
    stays = asyncio.create_task(waiter(line, "stays", order))
    await settle()
    line.leave()  # its turn
    gone.cancel()  # in the same moment
    await settle()
    assert stays.done() or order == ["gone"]
    assert line.running == 1


async def test_closing_sends_everybody_away() -> None:
    line = Line(1, 5)
    await line.enter()
    task = asyncio.create_task(line.enter())
    await settle()
    line.close(ModelUnloaded())
    with pytest.raises(ModelUnloaded):
        await task


async def test_more_places_admit_those_who_wait() -> None:
    line = Line(1, 5)
    await line.enter()
    tasks = [asyncio.create_task(line.enter()) for _ in range(3)]
    await settle()
    line.resize(3, 5)
    await settle()
    assert [task.done() for task in tasks] == [True, True, False]
    tasks[2].cancel()


async def test_those_who_wait_can_be_moved_and_know_their_place() -> None:
    line, order = Line(1, 10), list[str]()
    await line.enter(name="first")
    tasks = []
    for name in ("a", "b", "c"):
        tasks.append(asyncio.create_task(named(line, name, order)))
        await settle()
    assert [line.position(name) for name in ("a", "b", "c", "first")] == [1, 2, 3, 0]
    assert line.reprioritise("c", 5) and line.reprioritise("a", -5)
    assert [line.position(name) for name in ("c", "b", "a")] == [1, 2, 3]
    assert not line.reprioritise("first", 9) and not line.reprioritise("nobody", 9)
    for _ in tasks:
        line.leave()
        await settle()
    assert order == ["c", "b", "a"]
    await asyncio.gather(*tasks)


async def named(line: Line, name: str, order: list[str]) -> None:
    await line.enter(name=name)
    order.append(name)
