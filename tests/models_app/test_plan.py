"""The plan before a load: shown where a model does not simply fit, asked about, forced or not."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from msgspec import structs

from mlxgui.runtime import Runtime
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
HTMX = {"HX-Request": "true"}
GIB = 1 << 30


@pytest.fixture
def room(runtime: Runtime) -> Runtime:
    """10 GB for models, and two places."""
    runtime.pool.apply(structs.replace(runtime.pool.limits, usable_bytes=10 * GIB, max_models=2))
    return runtime


def loaded(runtime: Runtime) -> list[str]:
    return sorted(one.name for one in runtime.pool.residents() if one.state == "ready")


async def until_loaded(runtime: Runtime, *names: str) -> None:
    async with asyncio.timeout(20):
        while loaded(runtime) != sorted(names):
            await asyncio.sleep(0.01)


async def fill(runtime: Runtime, *names: str, size_bytes: int = 1 * GIB) -> None:
    for name in names:
        model = await amake_model(name, path=f"echo/{name}", memory_bytes=size_bytes)
        await runtime.pool.load(model.spec())


async def test_what_simply_fits_is_loaded_at_once(async_client: AsyncClient, room: Runtime) -> None:
    model = await amake_model("echo", memory_bytes=GIB)
    await async_client.post(f"/library/{model.pk}/load/", headers=HTMX)
    await until_loaded(room, "echo")


async def test_what_would_leave_is_said_and_asked_about(
    async_client: AsyncClient, room: Runtime
) -> None:
    await fill(room, "first", "second")
    model = await amake_model("third", path="echo/third", memory_bytes=GIB)
    response = await async_client.post(f"/library/{model.pk}/load/", headers=HTMX)
    page = response.content.decode()
    assert response["HX-Retarget"] == "#plan"
    assert "<strong>first</strong>" in page
    assert "Load third?" in page
    assert loaded(room) == ["first", "second"]
    confirmed = {"confirm": "1"}
    await async_client.post(f"/library/{model.pk}/load/", confirmed, headers=HTMX)
    await until_loaded(room, "second", "third")


async def test_without_script_the_plan_is_a_page(async_client: AsyncClient, room: Runtime) -> None:
    await fill(room, "first", "second")
    model = await amake_model("third", path="echo/third", memory_bytes=GIB)
    response = await async_client.post(f"/library/{model.pk}/load/")
    assert response["Location"] == f"/library/{model.pk}/plan/"
    page = (await async_client.get(response["Location"])).content.decode()
    assert 'name="confirm"' in page
    assert "Weights" in page


async def test_the_impossible_has_no_button(async_client: AsyncClient, room: Runtime) -> None:
    model = await amake_model("huge", memory_bytes=100 * GIB)
    page = (await async_client.post(f"/library/{model.pk}/load/", headers=HTMX)).content.decode()
    assert "huge does not fit" in page
    assert "Insufficient memory" in page
    assert "confirm" not in page
    confirmed = {"confirm": "1"}
    await async_client.post(f"/library/{model.pk}/load/", confirmed, headers=HTMX)
    assert loaded(room) == []


async def test_the_plan_of_a_broken_folder_is_its_reason(
    async_client: AsyncClient, room: Runtime
) -> None:
    model = await amake_model("bad", error_message="config.json is damaged.")
    assert (await async_client.get(f"/library/{model.pk}/plan/"))["Location"] == "/library/"
    assert (await async_client.get("/v1/models/bad/plan")).status_code == 503


async def test_the_api_tells_the_plan(async_client: AsyncClient, room: Runtime) -> None:
    await fill(room, "first", "second", size_bytes=3 * GIB)
    await amake_model("third", path="echo/third", memory_bytes=2 * GIB)
    plan = (await async_client.get("/v1/models/third/plan")).json()
    assert (plan["fits"], plan["evict"], plan["usable_bytes"]) == ("yes", ["first"], 10 * GIB)
    assert plan["plan"]["needed_bytes"] == 2 * GIB
    assert (await async_client.get("/v1/models/none/plan")).status_code == 404


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?force=true", 200), ("?force=x", 400)])
async def test_force_is_a_truth_value(
    async_client: AsyncClient, room: Runtime, query: str, status: int
) -> None:
    await amake_model("echo")
    assert (await async_client.post(f"/v1/models/echo/load{query}")).status_code == status


async def test_force_never_loads_the_impossible(async_client: AsyncClient, room: Runtime) -> None:
    await amake_model("huge", memory_bytes=100 * GIB)
    response = await async_client.post("/v1/models/huge/load?force=true")
    assert (response.status_code, "Insufficient memory" in response.json()["detail"]) == (400, True)


async def status(client: AsyncClient, name: str) -> Any:
    return (await client.get(f"/v1/manager/models/{name}/status")).json()


async def test_waiting_loads_have_a_place_and_can_be_moved(
    async_client: AsyncClient, room: Runtime
) -> None:
    """One model is loaded at a time; “sleepy” takes a second, the others wait."""
    room.pool.apply(structs.replace(room.pool.limits, max_models=3))
    rows = [await amake_model("sleepy")]
    rows += [await amake_model(name, path=f"echo/{name}") for name in ("one", "two")]
    loads = []
    for row in rows:
        loads.append(asyncio.create_task(room.pool.load(row.spec())))
        await asyncio.sleep(0.02)
    assert (await status(async_client, "one"))["queue_position"] == 1
    assert (await status(async_client, "two"))["queue_position"] == 2
    assert "2nd in line" in (await async_client.get("/library/")).content.decode()
    response = await async_client.post(
        "/v1/manager/models/two/priority", {"priority": 10}, content_type="application/json"
    )
    assert response.json()["applied"] is True
    assert (await status(async_client, "two"))["queue_position"] == 1
    await asyncio.gather(*loads)
    assert (await status(async_client, "two"))["queue_position"] is None
    response = await async_client.post(
        "/v1/manager/models/two/priority", {"priority": 0}, content_type="application/json"
    )
    assert response.json()["applied"] is False


async def test_a_waiting_load_can_be_stopped(async_client: AsyncClient, room: Runtime) -> None:
    slow = await amake_model("sleepy")
    load = asyncio.create_task(room.pool.load(slow.spec()))
    await asyncio.sleep(0.05)
    await async_client.post(f"/library/{slow.pk}/unload/")
    with pytest.raises(Exception, match="unloaded"):
        await load
    assert room.pool.residents() == []
