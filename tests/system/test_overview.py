"""The System page: what it shows of the pool, unloading, asking before the server ends."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from django.test import AsyncClient, RequestFactory

from mlxgui import runtime as running
from mlxgui.runtime import Runtime
from mlxgui.system import overview
from mlxgui.system.lifecycle import Control
from mlxgui.system.samples import History, take
from mlxgui.system.startup import Address
from tests.conftest import ask, fake

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"HX-Request": "true"}


@pytest_asyncio.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    """A server's, with one fake model in memory and one look at it."""
    made = Runtime()
    monkeypatch.setattr(running, "_runtime", made)
    await made.pool.load(fake("echo"))
    history = History()
    history.samples.append(take(made.pool.residents(), {}))
    monkeypatch.setattr(overview, "history", history)
    yield made
    await made.close()


async def test_the_page_shows_memory_models_and_links(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    page = (await async_client.get("/system/")).text
    for words in ("fake-echo", "This server", "Everything else", "Free", "Unload", "Restart…",
                  "Shut down…", "/library/disk/", "The last hour in numbers"):  # fmt: skip
        assert words in page
    assert 'aria-current="page"' in page


async def test_the_page_works_before_the_first_look(async_client: AsyncClient) -> None:
    page = await async_client.get("/system/")
    assert page.status_code == 200
    assert "None. A model is loaded" in page.text


async def test_the_live_part_is_a_fragment(runtime: Runtime, async_client: AsyncClient) -> None:
    part = await async_client.get("/system/live/", headers=HTMX)
    assert part.text.lstrip().startswith('<div id="live"')
    assert (await async_client.get("/system/live/"))["Location"] == "/system/"


async def test_samples_are_numbers_for_the_picture(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    table = (await async_client.get("/system/samples/")).json()
    assert table["parts"][0] == {"name": "fake-echo", "tone": "model-0"}
    assert len(table["sizes"]) == len(table["parts"])
    for after in (table["at"][0] + 1, "nonsense"):
        later = (await async_client.get("/system/samples/", {"after": after})).json()
        assert len(later["at"]) == (0 if after != "nonsense" else 1)


@pytest.mark.parametrize(("key", "left"), [("other", 1), ("echo", 0), ("*", 0)])
async def test_a_model_is_unloaded_by_its_key_or_with_all(
    runtime: Runtime, async_client: AsyncClient, key: str, left: int
) -> None:
    answer = await async_client.post("/system/unload/", {"key": key}, headers=HTMX)
    assert answer.status_code == 200
    assert len(runtime.pool.residents()) == left


@pytest.mark.parametrize("verb", ["restart", "shutdown"])
async def test_ending_asks_first_and_then_does_it(
    runtime: Runtime, async_client: AsyncClient, verb: str
) -> None:
    ended: list[str] = []
    runtime.control = Control(Address("127.0.0.1", 8000), None, None, lambda: ended.append(verb))
    asked = await async_client.get(f"/system/{verb}/")
    assert "1 model will be unloaded" in asked.text
    done = await async_client.post(f"/system/{verb}/")
    assert done.status_code == 200
    assert runtime.control.restarting == (verb == "restart")
    assert ("data-comes-back" in done.text) == (verb == "restart")
    assert ended == []  # the answer goes out first


async def test_a_restart_that_would_not_come_back_is_refused(
    runtime: Runtime, async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.control = Control(Address("127.0.0.1", 8000), None, None)
    monkeypatch.setenv("MLX_GUI_HOST", "0.0.0.0")
    done = await async_client.post("/system/restart/", follow=True)
    assert "MLX_GUI_API_KEY must be set first. Nothing was changed." in done.text
    assert not runtime.control.restarting


async def test_a_page_follows_the_server_to_its_new_port(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    runtime.control = Control(Address("127.0.0.1", 8000), None, 8999)
    done = await async_client.post("/system/restart/")
    new = "http://testserver:8999"
    assert f'data-comes-back="{new}/v1/system/version"' in done.text
    assert f'data-then="{new}/system/" data-moves' in done.text
    assert f"connect-src 'self' {new};" in done["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("host", "new"),
    [("127.0.0.1:8000", "http://127.0.0.1:8999"), ("[::1]:8000", "http://[::1]:8999"),
     ("localhost", "http://localhost:8999")],
)  # fmt: skip
def test_the_new_address_keeps_the_name_that_the_reader_used(host: str, new: str) -> None:
    request = RequestFactory().get("/", HTTP_HOST=host)
    assert overview.new_origin(request, 8000, 8999) == new
    assert overview.new_origin(request, 8000, 8000) == ""


async def test_without_serve_the_page_says_where_to_end_it(async_client: AsyncClient) -> None:
    done = await async_client.post("/system/shutdown/", follow=True)
    assert "end it where it runs" in done.text


async def test_a_form_from_elsewhere_is_refused(runtime: Runtime) -> None:
    strict = AsyncClient(enforce_csrf_checks=True)
    for path in ("/system/restart/", "/system/shutdown/", "/system/unload/"):
        assert (await strict.post(path)).status_code == 403


async def test_health_is_503_only_when_no_model_can_be_served(
    runtime: Runtime, async_client: AsyncClient
) -> None:
    told = await async_client.get("/health")
    assert (told.status_code, told.json()["loaded_model"]) == (200, "fake-echo")
    await runtime.pool.load(fake("crash"))
    async for _ in runtime.pool.generate(fake("echo"), ask("hello")):
        pass
    assert (await async_client.get("/health")).status_code == 200
    await runtime.close()
    told = await async_client.get("/health")
    assert (told.status_code, told.json()["status"]) == (503, "unavailable")
