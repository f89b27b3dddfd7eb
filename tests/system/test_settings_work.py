"""Each documented setting does what it says, when it says. The port is tested with the restart
(test_lifecycle.py), the menu bar in test_tray.py."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from django.test import AsyncClient

from mlxgui import runtime as running
from mlxgui.engine.types import Done
from mlxgui.runtime import Runtime
from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.logs import set_level
from models_app.models import Model
from tests.conftest import ask, fake
from tests.jobs.test_children import until
from tests.models_app.folders import make_cached
from tests.server import ServerProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.server]
KEY = {"Authorization": "Bearer sesame"}


@pytest_asyncio.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    made = Runtime()
    monkeypatch.setattr(running, "_runtime", made)
    await made.apply_settings()
    yield made
    await made.close()


async def put(client: AsyncClient, key: str, value: object) -> None:
    answer = await client.put(
        f"/v1/settings/{key}", {"value": value}, content_type="application/json"
    )
    assert answer.status_code == 200, answer.content


async def soon(reached: object) -> None:
    for _ in range(200):
        if reached():  # type: ignore[operator]
            return
        await asyncio.sleep(0.02)
    raise AssertionError("It did not happen.")


async def test_max_concurrent_requests_holds_at_once_for_what_waits(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    async def use() -> None:
        async for event in runtime.pool.generate(fake("slow"), ask("word " * 200)):
            assert not isinstance(event, Done)

    def now() -> tuple[int, int]:
        found = runtime.pool.residents()
        return (found[0].in_flight, found[0].waiting) if found else (0, 0)

    await put(async_client, "max_concurrent_requests", 1)
    uses = [asyncio.create_task(use()) for _ in range(3)]
    await soon(lambda: now() == (1, 2))
    await put(async_client, "max_concurrent_requests", 2)
    await soon(lambda: now() == (2, 1))
    for one in uses:
        one.cancel()
    await asyncio.gather(*uses, return_exceptions=True)


async def test_idle_unloading_follows_both_settings_at_once(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await runtime.pool.load(fake("echo"))

    def left() -> float | None:
        return runtime.pool.residents()[0].idle_left_seconds

    assert 1790 < (left() or 0) <= 1800
    await put(async_client, "model_inactivity_timeout_minutes", 2)
    assert 110 < (left() or 0) <= 120
    await put(async_client, "auto_unload_inactive_models", False)
    assert left() is None
    await put(async_client, "auto_unload_inactive_models", True)
    assert 110 < (left() or 0) <= 120


async def test_max_concurrent_models_holds_for_the_next_load(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    await put(async_client, "max_concurrent_models", 1)
    await runtime.pool.load(fake("echo"))
    await runtime.pool.load(fake("slow"))
    assert [one.name for one in runtime.pool.residents()] == ["fake-slow"]


async def test_gpu_acceleration_holds_for_models_loaded_from_now_on(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    assert runtime.pool.limits.options.use_gpu is True
    await put(async_client, "enable_gpu_acceleration", False)
    assert runtime.pool.limits.options.use_gpu is False
    assert DEFINITIONS["enable_gpu_acceleration"].applies == "to models loaded from now on"


async def test_the_log_level_holds_at_once(async_client: AsyncClient) -> None:
    try:
        await put(async_client, "log_level", "DEBUG")
        assert logging.getLogger("mlxgui.pool").isEnabledFor(logging.DEBUG)
        await put(async_client, "log_level", "ERROR")
        assert not logging.getLogger("mlxgui.pool").isEnabledFor(logging.WARNING)
    finally:
        set_level("INFO")


def test_what_needs_a_restart_says_so_and_comes_with_it(tmp_path: Path) -> None:
    later = {key for key, one in DEFINITIONS.items() if one.applies == "after a restart"}
    assert later == {"server_port", "bind_to_all_interfaces"}
    with ServerProcess(tmp_path, MLX_GUI_API_KEY="sesame") as server:
        server.wait_ready()
        process = psutil.Process(server.process.pid)

        def listens_on() -> set[str]:
            found = process.net_connections()
            return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}

        wish = {"value": True}
        assert server.ask("/v1/settings/bind_to_all_interfaces", "PUT", wish, KEY).status == 200
        assert listens_on() == {"127.0.0.1"}
        assert server.ask("/v1/system/restart", "POST", headers=KEY).status == 200
        server.wait_ready()
        until(lambda: listens_on() == {"0.0.0.0"})
        log = tmp_path / "logs" / "server.log"
        # It listens a moment before it says so.
        until(lambda: log.read_text().count("is ready at") == 2)
        assert "restarting" in log.read_text()


async def test_the_cache_folder_holds_at_the_next_rescan(
    runtime: Runtime, async_client: AsyncClient, tmp_path: Path
) -> None:
    make_cached(tmp_path, "author/from-the-cache")
    await put(async_client, "huggingface_cache_dir", str(tmp_path))
    assert not await Model.objects.filter(name="from-the-cache").aexists()
    assert (await async_client.post("/library/scan/")).status_code == 302
    assert await Model.objects.filter(name="from-the-cache").aexists()


@pytest.mark.parametrize("key", sorted(DEFINITIONS))
def test_every_setting_says_when_it_holds(key: str) -> None:
    assert DEFINITIONS[key].applies
    assert DEFINITIONS[key].description.endswith(".")
