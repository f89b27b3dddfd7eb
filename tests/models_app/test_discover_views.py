"""The Discover page, a repository's page, the list of downloads; whole and in pieces."""

import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from mlxgui.runtime import Runtime
from models_app.downloads import Download
from tests.factories import make_model
from tests.hub import Hub

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
HTMX = {"HX-Request": "true"}
LLAMA = "mlx-community/Llama-3.2-3B-Instruct-4bit"


@pytest.fixture(autouse=True)
def a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 8 GB for models, whatever this one has."""
    from mlxgui.engine.memory import GIB

    for module in ("discover_views", "views"):
        monkeypatch.setattr(f"models_app.{module}.memory_for_models", lambda: 8 * GIB)


async def text_of(client: AsyncClient, path: str, **options: Any) -> str:
    response = await client.get(path, **options)
    assert response.status_code == 200, response.content
    return response.content.decode()


def names(page: str) -> list[str]:
    return re.findall(r'<li class="found card" id="[\w-]+?--([^"]+)"', page)


async def test_the_page_shows_what_the_hub_has(async_client: AsyncClient, hub: Hub) -> None:
    page = await text_of(async_client, "/discover/")
    assert names(page)[0] == "Llama-3.2-3B-Instruct-4bit"
    for fact in ("4-bit", "3.2 billion parameters", "1.7", "12,543 downloads", "fits", "Install"):
        assert fact in page
    assert "too large for this machine" in page


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("query=llama", ["Llama-3.2-3B-Instruct-4bit"]),
        ("kind=vision", ["Qwen2-VL-72B-Instruct-8bit"]),
        ("kind=embedding", ["embedding-small"]),
        ("kind=stt", ["whisper-tiny"]),
        ("fits=on", ["Llama-3.2-3B-Instruct-4bit", "embedding-small"]),
        ("quantization=8-bit", ["Qwen2-VL-72B-Instruct-8bit"]),
        ("size=2", ["Llama-3.2-3B-Instruct-4bit", "embedding-small"]),
        ("author=nobody", []),
        ("kind=nonsense&size=x&sort=y", None),
    ],
)
async def test_choices_narrow_it(
    async_client: AsyncClient, hub: Hub, question: str, found: list[str] | None
) -> None:
    page = await text_of(async_client, f"/discover/?{question}")
    assert len(names(page)) == 4 if found is None else names(page) == found


async def test_htmx_gets_the_results_alone(async_client: AsyncClient, hub: Hub) -> None:
    page = await text_of(async_client, "/discover/?query=llama", headers=HTMX)
    assert page.strip().startswith('<section id="results"')
    assert "<html" not in page


async def test_a_first_model_is_named_until_there_is_one(
    async_client: AsyncClient, hub: Hub
) -> None:
    assert "A good first model" in await text_of(async_client, "/discover/")
    await amake_model("echo")
    assert "A good first model" not in await text_of(async_client, "/discover/")


async def test_without_the_hub_the_page_says_why(async_client: AsyncClient, hub: Hub) -> None:
    hub.knobs.status["/api/models"] = (429, {"Retry-After": "9"})
    assert "Try again in 9 seconds" in await text_of(async_client, "/discover/")
    response = await async_client.get(f"/discover/{LLAMA}/")
    assert response.status_code == 429
    assert "Try again in 9 seconds" in response.content.decode()


async def test_a_repository_has_facts_a_plot_files_and_its_card(
    async_client: AsyncClient, hub: Hub
) -> None:
    page = await text_of(async_client, f"/discover/{LLAMA}/")
    for fact in ("meta-llama/Llama-3.2-3B-Instruct", "mit", "fits this machine", "4,096 tokens"):
        assert fact in page
    assert "<polyline" in page
    assert "model.safetensors" in page
    assert "<strong>model</strong>" in page
    assert "bad()" not in page


async def test_the_same_model_in_other_forms_is_listed(async_client: AsyncClient, hub: Hub) -> None:
    base = "base_model:meta-llama/Llama-3.2-3B-Instruct"
    hub.add("mlx-community/Llama-3.2-3B-8bit", {}, tags=("mlx", "8-bit", base))
    page = await text_of(async_client, f"/discover/{LLAMA}/")
    assert "in other forms" in page
    assert "mlx-community/Llama-3.2-3B-8bit" in page


async def test_an_unknown_repository_is_a_404_with_words(
    async_client: AsyncClient, hub: Hub
) -> None:
    response = await async_client.get("/discover/nobody/nothing/")
    assert response.status_code == 404
    assert "is not on the hub" in response.content.decode()


async def test_install_by_a_plain_form(async_client: AsyncClient, runtime: Runtime) -> None:
    response = await async_client.post(
        "/library/downloads/add/", {"repository": LLAMA, "next": "/discover/"}
    )
    assert (response.status_code, response["Location"]) == (302, "/discover/")
    assert (await Download.objects.aget()).repository == LLAMA
    assert "Llama-3.2-3B-Instruct-4bit" in await text_of(async_client, "/library/")


async def test_install_by_htmx_swaps_the_button(async_client: AsyncClient, hub: Hub) -> None:
    response = await async_client.post(
        "/library/downloads/add/", {"repository": LLAMA}, headers=HTMX
    )
    page = response.content.decode()
    assert "waiting" in page
    assert "<button" not in page
    assert response["HX-Trigger"] == "library-tick"
    assert "waiting" in await text_of(async_client, f"/discover/{LLAMA}/state/")


async def test_what_is_no_repository_is_said(async_client: AsyncClient, runtime: Runtime) -> None:
    response = await async_client.post(
        "/library/downloads/add/", {"repository": "../etc"}, follow=True
    )
    assert "is no repository of the hub" in response.content.decode()


async def test_nobody_is_sent_to_another_site(async_client: AsyncClient) -> None:
    wish = {"repository": LLAMA, "next": "https://evil.example/"}
    response = await async_client.post("/library/downloads/add/", wish)
    assert response["Location"] == "/library/"


async def test_a_download_shows_bytes_speed_and_time(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await Download.objects.acreate(
        repository="a/big", status="running", progress=0.5, done_bytes=1 << 30,
        total_bytes=2 << 30, speed_bytes=10 << 20, seconds_left=102,
        files=[["model.safetensors", 50, 100]],
    )  # fmt: skip
    page = await text_of(async_client, "/library/")
    for fact in ("1.0", "2.0", "10.0", "2 min left", "model.safetensors", "50 %", "Pause"):
        assert fact in page


async def test_a_failed_download_says_why_and_offers_another_try(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await Download.objects.acreate(repository="a/big", status="failed", error="The disk is full.")
    page = await text_of(async_client, "/library/")
    assert "The disk is full." in page
    assert "Try again" in page


@pytest.mark.parametrize(
    ("before", "verb", "change"),
    [
        ("running", "pause", {"pause_requested": True}),
        ("running", "cancel", {"cancel_requested": True}),
        ("paused", "resume", {"status": "queued"}),
        ("failed", "resume", {"status": "queued"}),
        ("queued", "first", {"priority": 1}),
    ],
)
async def test_wishes(
    async_client: AsyncClient, before: str, verb: str, change: dict[str, Any]
) -> None:
    job = await Download.objects.acreate(repository="a/big", status=before)
    response = await async_client.post(f"/library/downloads/{job.uuid}/{verb}/", headers=HTMX)
    assert response.content.decode().strip().startswith('<section id="downloads"')
    await job.arefresh_from_db()
    assert {name: getattr(job, name) for name in change} == change


async def test_many_downloads_do_not_push_the_search_away(
    async_client: AsyncClient, runtime: Runtime, hub: Hub
) -> None:
    for number in range(7):
        status = "running" if number == 6 else "queued"
        await Download.objects.acreate(repository=f"a/m{number}", status=status)
    page = await text_of(async_client, "/discover/")
    assert (page.count('class="model download"'), "2 more in the library" in page) == (5, True)
    assert "Cancel a/m6" in page  # what runs is shown before what waits
    seen = re.search(r'hx-get="(/library/downloads/\?seen=\w+)&amp;few=1"', page)
    assert seen is not None
    response = await async_client.get(f"{seen[1]}x&few=1", headers=HTMX)
    assert response.content.decode().count('class="model download"') == 5
    whole = await text_of(async_client, "/library/")
    assert whole.count('class="model download"') == 7


async def test_a_failed_download_can_be_put_away(async_client: AsyncClient) -> None:
    job = await Download.objects.acreate(repository="a/big", status="failed")
    await async_client.post(f"/library/downloads/{job.uuid}/cancel/")
    assert not await Download.objects.aexists()


async def test_wishes_that_there_are_not_are_404s(async_client: AsyncClient) -> None:
    job = await Download.objects.acreate(repository="a/big")
    assert (await async_client.post(f"/library/downloads/{job.uuid}/explode/")).status_code == 404
    gone = "/library/downloads/0190b3a0-7a4e-7cc0-8f0e-000000000001/pause/"
    assert (await async_client.post(gone)).status_code == 404


async def test_nothing_is_sent_while_no_download_changes(async_client: AsyncClient) -> None:
    job = await Download.objects.acreate(repository="a/big", status="running")
    page = await text_of(async_client, "/library/downloads/", headers=HTMX)
    seen = re.search(r"downloads/\?seen=(\w+)", page)
    assert seen
    again = f"/library/downloads/?seen={seen[1]}"
    assert (await async_client.get(again, headers=HTMX)).status_code == 204
    job.done_bytes = 5
    await job.asave()
    assert (await async_client.get(again, headers=HTMX)).status_code == 200


async def test_forms_need_their_token() -> None:
    strict = AsyncClient(enforce_csrf_checks=True)
    response = await strict.post("/library/downloads/add/", {"repository": LLAMA})
    assert response.status_code == 403


@pytest.mark.parametrize("path", ["/library/", "/discover/"])
async def test_more_downloads_need_no_more_queries(
    async_client: AsyncClient, runtime: Runtime, hub: Hub, path: str
) -> None:
    async def queries() -> int:
        captured = CaptureQueriesContext(connection)
        await sync_to_async(captured.__enter__)()
        await text_of(async_client, path)
        await sync_to_async(captured.__exit__)(None, None, None)
        return await sync_to_async(captured.__len__)()

    await amake_model("first")
    await Download.objects.acreate(repository="a/first")
    await queries()
    few = await queries()
    for number in range(20):
        await amake_model(f"m{number}")
        await Download.objects.acreate(repository=f"a/m{number}")
    assert await queries() == few > 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ""),
        ([("running", 30, 100), ("running", 10, 100)], "2 downloads · 20 %"),
        ([("failed", 0, 0)], "1 download failed"),
        ([("queued", 0, 0), ("paused", 0, 0)], "2 downloads waiting"),
    ],
)
async def test_the_indicator_is_quiet(
    async_client: AsyncClient, rows: list[tuple[str, int, int]], words: str
) -> None:
    for number, (status, done, total) in enumerate(rows):
        await Download.objects.acreate(
            repository=f"a/m{number}", status=status, done_bytes=done, total_bytes=total
        )
    page = (await text_of(async_client, "/library/downloads/indicator/")).strip()
    assert words in page if words else page == ""
