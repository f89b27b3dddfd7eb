"""The Library page: whole, in pieces for htmx, and with plain forms."""

import asyncio
import re
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from mlxgui.runtime import Runtime
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
HTMX = {"HX-Request": "true"}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def text_of(client: AsyncClient, path: str = "/library/") -> str:
    response = await client.get(path)
    assert response.status_code == 200
    return response.content.decode()


async def test_the_page_says_what_a_model_is(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model(
        "Tiny", path="/models/tiny", kind="text", architecture="qwen3", quantization="4-bit",
        parameters=4_022_468_096, context_tokens=40_960, weights_bytes=2 << 30,
        memory_bytes=3 << 30, capabilities={"chat_template": True, "tools": True},
    )  # fmt: skip
    page = await text_of(async_client)
    facts = "Tiny", "qwen3", "4-bit", "4.0 billion parameters", "40,960 tokens", "2.0", "tools"
    for fact in facts:
        assert fact in page
    assert "not loaded" in page
    assert "thinking</span>" not in page


async def test_the_starter_says_what_it_is(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("starter", path="/starter", kind="text", source="starter")
    page = await text_of(async_client)
    assert "It knows this application and nothing else" in page
    assert "hf download mlx-community/" in page


async def test_a_broken_folder_has_its_reason_and_no_button(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("bad", error_message="config.json is damaged. Download it again.")
    page = await text_of(async_client)
    assert "config.json is damaged. Download it again." in page
    assert f'id="act-{model.pk}"' not in page


async def test_a_name_cannot_bring_markup(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("<script>alert(1)</script>", path="/x")
    assert "<script>alert" not in await text_of(async_client)


async def test_without_models_the_page_says_how_to_get_one(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    page = await text_of(async_client)
    assert "No models yet" in page
    assert "hf download" in page


async def test_a_plain_form_loads_and_unloads(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo")
    response = await async_client.post(f"/library/{model.pk}/load/")
    assert (response.status_code, response["Location"]) == (302, "/library/")
    await until(lambda: [one.state for one in runtime.pool.residents()] == ["ready"])
    assert "Unload" in await text_of(async_client)
    await async_client.post(f"/library/{model.pk}/unload/")
    assert runtime.pool.residents() == []


async def test_htmx_gets_the_list_alone(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo")
    response = await async_client.post(f"/library/{model.pk}/load/", headers=HTMX)
    page = response.content.decode()
    assert page.strip().startswith('<section id="models"')
    assert "<html" not in page


async def test_a_failed_load_says_why_and_offers_another_try(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("broken")
    await async_client.post(f"/library/{model.pk}/load/")
    await until(lambda: bool(runtime.pool.failures))
    page = await text_of(async_client)
    assert "This fake model never loads." in page
    assert "Try again" in page


async def test_loading_shows_how_far_it_is(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("sleepy")
    response = await async_client.post(f"/library/{model.pk}/load/", headers=HTMX)
    assert "<progress" in response.content.decode()
    await until(lambda: runtime.pool.residents()[0].state == "ready")


async def test_a_broken_folder_is_not_loaded_by_its_address(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", error_message="config.json is damaged.")
    response = await async_client.post(f"/library/{model.pk}/load/", follow=True)
    assert "config.json is damaged" in response.content.decode()
    assert runtime.pool.residents() == []


async def test_nothing_is_sent_while_nothing_changes(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo")
    seen = re.search(r"live/\?seen=(\w+)", await text_of(async_client))
    assert seen
    live = f"/library/live/?seen={seen[1]}"
    assert (await async_client.get(live, headers=HTMX)).status_code == 204
    await runtime.pool.load(model.spec())
    response = await async_client.get(live, headers=HTMX)
    assert 'class="badge ok">loaded' in response.content.decode()


async def test_the_list_alone_is_no_page(async_client: AsyncClient, runtime: Runtime) -> None:
    assert (await async_client.get("/library/live/")).status_code == 302


async def test_rescan_removes_what_is_gone(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("gone", path="/nowhere")
    response = await async_client.post("/library/scan/", headers=HTMX)
    assert "/nowhere" not in response.content.decode()


async def test_forms_need_their_token(runtime: Runtime) -> None:
    model = await amake_model("echo")
    strict = AsyncClient(enforce_csrf_checks=True)
    assert (await strict.post(f"/library/{model.pk}/load/")).status_code == 403


async def test_a_model_that_is_gone_is_a_404(async_client: AsyncClient, runtime: Runtime) -> None:
    assert (await async_client.post("/library/999/load/")).status_code == 404


@pytest.mark.parametrize("path", ["/library/", "/v1/models"])
async def test_more_models_need_no_more_queries(
    async_client: AsyncClient, runtime: Runtime, path: str
) -> None:
    captured = CaptureQueriesContext(connection)

    async def queries() -> int:
        await sync_to_async(captured.__enter__)()
        await async_client.get(path)
        await sync_to_async(captured.__exit__)(None, None, None)
        return await sync_to_async(captured.__len__)()  # connections belong to their thread

    await amake_model("first")
    await queries()  # the first request makes what later ones share
    few = await queries()
    for number in range(20):
        await amake_model(f"m{number}")
    assert await queries() == few > 0
