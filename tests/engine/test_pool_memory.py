"""Memory, time and order in the pool, with real children: what fits, who leaves, who is next."""

import asyncio
from pathlib import Path

import psutil
import pytest

from chat_app.prompt import CHAT_PRIORITY
from mlxgui.engine import loader
from mlxgui.engine import pool as pool_module
from mlxgui.engine.errors import LoadFailed, NotEnoughMemory, QueueFull
from mlxgui.engine.memory import GIB
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import Done, Started
from tests.conftest import ask, fake
from tests.engine.test_pool import collect, until

pytestmark = pytest.mark.server


def sized(mode: str, gb: float, **changes: object) -> ModelSpec:
    return fake(mode, memory_bytes=int(gb * GIB), **changes)


def paths(pool: ModelPool) -> list[str]:
    return sorted(resident.path for resident in pool.residents())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with much free memory, whatever this one has."""
    real = loader.machine_memory()
    plenty = type(real)(99 * GIB, 99 * GIB, 99 * GIB, real.unified, real.device_name)
    monkeypatch.setattr(loader, "machine_memory", lambda: plenty)


@pytest.mark.usefixtures("machine")
async def test_with_three_models_loaded_a_fourth_takes_the_place_of_the_oldest(
    pool: ModelPool,
) -> None:
    pool.apply(Limits(max_models=3, usable_bytes=10 * GIB))
    for mode in ("echo", "slow", "deaf"):
        await pool.load(sized(mode, 2))
    await collect(pool, sized("echo", 2), ask("used again"))
    gone = next(r.pid for r in pool.residents() if r.path == "slow")
    assert pool.preview(sized("sleepy", 2)).evict == ["fake-slow"]
    await pool.load(sized("sleepy", 2))
    assert paths(pool) == ["deaf", "echo", "sleepy"]
    assert not psutil.pid_exists(gone)


@pytest.mark.usefixtures("machine")
async def test_a_large_model_takes_the_place_of_several(pool: ModelPool) -> None:
    pool.apply(Limits(max_models=4, usable_bytes=10 * GIB))
    await pool.load(sized("slow", 3, pinned=True))
    await pool.load(sized("echo", 3))
    await pool.load(sized("deaf", 3))
    seen = pool.preview(sized("sleepy", 6))
    assert seen.evict == ["fake-echo", "fake-deaf"]
    await pool.load(sized("sleepy", 6))
    assert paths(pool) == ["sleepy", "slow"]
    with pytest.raises(NotEnoughMemory, match=r"requires 8.0 GB but you have 7.0 GB"):
        await pool.load(sized("echo", 8), force=True)


async def test_short_memory_of_the_machine_is_a_warning_that_force_overrides(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.apply(Limits(usable_bytes=10 * GIB))
    real = loader.machine_memory()
    short = type(real)(16 * GIB, 1 * GIB, 12 * GIB, real.unified, real.device_name)
    monkeypatch.setattr(loader, "machine_memory", lambda: short)
    assert pool.preview(sized("echo", 4)).fits == "warning"
    with pytest.raises(NotEnoughMemory, match=r"leave 1.0 GB free now.*load it anyway"):
        await pool.load(sized("echo", 4))
    await pool.load(sized("echo", 4), force=True)
    assert paths(pool) == ["echo"]
    # A request does not ask: the machine makes room, as it does for any program.
    await collect(pool, sized("slow", 4), ask("x"))
    assert paths(pool) == ["echo", "slow"]


@pytest.mark.usefixtures("machine")
async def test_what_jobs_reserve_makes_idle_models_leave_for_the_next(pool: ModelPool) -> None:
    pool.apply(Limits(usable_bytes=10 * GIB))
    await pool.load(sized("echo", 4))
    pool.reserve(4 * GIB)
    seen = pool.preview(sized("slow", 4))
    assert (seen.evict, seen.usable_bytes) == (["fake-echo"], 6 * GIB)
    pool.reserve(7 * GIB)
    with pytest.raises(NotEnoughMemory):
        await pool.load(sized("slow", 4))


@pytest.mark.usefixtures("machine")
async def test_loads_wait_in_line_and_can_be_moved_in_it(pool: ModelPool) -> None:
    ended: list[str] = []
    pool.apply(Limits(max_models=9))
    pool.on_load = lambda spec, error: ended.append(spec.path)
    first = asyncio.create_task(pool.load(fake("sleepy")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].pid > 0)
    low, high, late = fake("echo"), fake("slow"), fake("deaf")
    tasks = [first]
    for spec, priority in ((low, 0), (high, 5), (late, -10)):
        tasks.append(asyncio.create_task(pool.load(spec, priority)))
        await asyncio.sleep(0.01)
    order = {resident.path: resident.queue_position for resident in pool.residents()}
    assert order == {"sleepy": 0, "slow": 1, "echo": 2, "deaf": 3}
    assert pool.set_priority(late.key, 10)
    order = {resident.path: resident.queue_position for resident in pool.residents()}
    assert order == {"sleepy": 0, "deaf": 1, "slow": 2, "echo": 3}
    assert not pool.set_priority("sleepy", 10)  # it loads already
    assert not pool.set_priority("unknown", 10)
    await asyncio.gather(*tasks)
    assert ended == ["sleepy", "deaf", "slow", "echo"]


@pytest.mark.usefixtures("machine")
async def test_a_caller_of_higher_priority_takes_the_load_of_the_others_along(
    pool: ModelPool,
) -> None:
    ended: list[str] = []
    pool.on_load = lambda spec, error: ended.append(spec.path)
    first = asyncio.create_task(pool.load(fake("sleepy")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].pid > 0)
    tasks = [asyncio.create_task(pool.load(fake(mode))) for mode in ("slow", "echo")]
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(pool.load(fake("echo"), 10)))
    await asyncio.gather(first, *tasks)
    assert ended == ["sleepy", "echo", "slow"]


async def test_a_load_that_waits_can_be_stopped(pool: ModelPool) -> None:
    first = asyncio.create_task(pool.load(fake("sleepy")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].pid > 0)
    waits = asyncio.create_task(pool.load(fake("echo")))
    await asyncio.sleep(0.01)
    assert await pool.unload("fake-echo")
    await asyncio.wait({waits})
    assert waits.exception() is not None
    await first
    assert paths(pool) == ["sleepy"]


async def test_requests_wait_in_classes_the_page_then_programs_then_batches(
    pool: ModelPool,
) -> None:
    pool.apply(Limits(max_requests=1))
    ended: list[str] = []

    async def one(name: str, priority: int) -> None:
        await collect(pool, fake("slow"), ask("x", priority=priority))
        ended.append(name)

    tasks = [asyncio.create_task(one("runs", -10))]
    await until(lambda: bool(pool.residents()) and pool.residents()[0].in_flight == 1)
    for name, priority in (("batch", -10), ("program", 0), ("urgent", 10), ("page", CHAT_PRIORITY)):
        tasks.append(asyncio.create_task(one(name, priority)))
        await asyncio.sleep(0)
    await until(lambda: pool.residents()[0].waiting == 4)
    await asyncio.gather(*tasks)
    assert ended == ["runs", "page", "urgent", "program", "batch"]


async def test_requests_for_a_model_that_loads_are_bounded_too(pool: ModelPool) -> None:
    pool.apply(Limits(max_requests=1, max_waiting=1))
    tasks = [asyncio.create_task(collect(pool, fake("sleepy"), ask("x"))) for _ in range(3)]
    done, _ = await asyncio.wait(tasks)
    errors = [task.exception() for task in done]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "NoneType", "QueueFull"]
    assert any(isinstance(error, QueueFull) for error in errors)


# -- keep-alive -----------------------------------------------------------------------------------


async def test_keep_alive_zero_unloads_right_after_the_answer_and_ends_the_process(
    pool: ModelPool,
) -> None:
    stream = pool.generate(fake("echo"), ask("x", keep_alive_seconds=0.0))
    await anext(stream)
    pid = pool.residents()[0].pid
    async for _ in stream:
        pass
    await until(lambda: not pool.residents())
    assert not psutil.pid_exists(pid)


async def test_keep_alive_zero_waits_for_the_other_requests(pool: ModelPool) -> None:
    slow = asyncio.create_task(collect(pool, fake("slow"), ask("a b c d e f")))
    await until(lambda: bool(pool.residents()) and pool.residents()[0].in_flight == 1)
    await collect(pool, fake("slow"), ask("x", keep_alive_seconds=0.0))
    assert paths(pool) == ["slow"]
    assert isinstance((await slow)[-1], Done)
    await until(lambda: not pool.residents())


async def test_a_requests_keep_alive_holds_until_another_names_one(pool: ModelPool) -> None:
    pool.apply(Limits(idle_seconds=0.1))
    await collect(pool, fake("echo"), ask("x", keep_alive_seconds=-1.0))
    assert pool.residents()[0].idle_left_seconds is None
    await collect(pool, fake("echo"), ask("x"))
    await asyncio.sleep(pool_module.SWEEP_SECONDS + 0.2)
    assert paths(pool) == ["echo"]
    await collect(pool, fake("echo"), ask("x", keep_alive_seconds=60.0))
    left = pool.residents()[0].idle_left_seconds
    assert left is not None and 55 < left <= 60


async def test_a_pinned_model_stays_whatever_a_request_wishes(pool: ModelPool) -> None:
    await collect(pool, fake("echo", pinned=True), ask("x", keep_alive_seconds=0.0))
    await asyncio.sleep(0.05)
    assert paths(pool) == ["echo"]


# -- real models ----------------------------------------------------------------------------------


def real(folder: Path, **changes: object) -> ModelSpec:
    return ModelSpec(name=folder.name, path=str(folder), context_tokens=4096, **changes)  # type: ignore[arg-type]


@pytest.mark.model
async def test_the_plan_is_compared_with_what_the_process_took(
    pool: ModelPool, text_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool.apply(Limits(options=LoadOptions(prompt_cache_bytes=0)))
    events = await collect(pool, real(text_model), ask("word " * 500, max_tokens=20))
    assert isinstance(events[0], Started)
    (one,) = pool.residents()
    assert (one.loaded_bytes, one.total_bytes) == (one.plan.weights_bytes,) * 2
    # The pool asks by itself, now and then.
    await until(lambda: pool.residents()[0].measured_peak_bytes > 0)
    assert await pool.ask(one.key, "options") == one.facts["options"]
    await pool.ask(one.key, "stats")
    (one,) = pool.residents()
    assert one.plan_error is not None and abs(one.plan_error) < 0.2
    assert one.memory_bytes == one.plan.needed_bytes > one.plan.weights_bytes
    assert one.error_percent == round(100 * one.plan_error)
    caplog.set_level("INFO", "mlxgui.server.plans")
    await pool.unload(one.key)
    said = [record.message for record in caplog.records if " at most, with " in record.message]
    assert len(said) == 1 and said[0].startswith(f"{one.name} took ")
    assert said[0].endswith(f"{one.error_percent:+d} %")


@pytest.mark.model
@pytest.mark.usefixtures("machine")
async def test_a_workers_share_follows_what_else_is_loaded(
    pool: ModelPool, text_model: Path, thinking_model: Path
) -> None:
    pool.apply(Limits(usable_bytes=4 * GIB, options=LoadOptions(prompt_cache_bytes=0)))
    first, second = real(text_model), real(thinking_model)
    await pool.load(first)
    alone = await pool.ask(first.key, "stats")
    assert pool.residents()[0].allowance_bytes == 4 * GIB
    await pool.load(second)
    shares = [resident.allowance_bytes for resident in pool.residents()]
    assert sum(shares) == pytest.approx(4 * GIB, abs=2) and min(shares) > GIB
    beside = await pool.ask(first.key, "stats")
    assert 0 < beside["kv_budget_bytes"] < alone["kv_budget_bytes"]
    await pool.unload(second.key)
    async with asyncio.timeout(5):
        while (await pool.ask(first.key, "stats"))["kv_budget_bytes"] != alone["kv_budget_bytes"]:
            await asyncio.sleep(0.01)


@pytest.mark.model
async def test_a_folder_with_program_code_is_loaded_only_where_an_admin_allowed_it(
    pool: ModelPool, text_model: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "with-code"
    shutil.copytree(text_model, folder)
    (folder / "modeling.py").write_text("open('/tmp/never-written', 'w')")
    with pytest.raises(LoadFailed, match=r"program code \(modeling.py\)"):
        await pool.load(real(folder))
    await pool.load(real(folder, options=LoadOptions(trust_remote_code=True)))
    assert paths(pool) == [str(folder)]
