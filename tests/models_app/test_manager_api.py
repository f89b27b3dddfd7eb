"""Install, delete and watch, against MLX-GUI's document."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.home import Home
from mlxgui.runtime import Runtime
from models_app import removal
from models_app.downloads import Download
from models_app.library import register, scan
from models_app.models import Model
from tests.factories import make_model
from tests.hub import Hub
from tests.models_app.folders import make_cached, make_folder

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
LLAMA = "mlx-community/Llama-3.2-3B-Instruct-4bit"
STATUS: dict[str, Any] = {
    "name": "echo",
    "status": "loaded",
    "loaded": True,
    "loaded_at": "2025-01-04T09:15:00",
    "last_used_at": "2025-01-04T10:30:00",
    "memory_usage_gb": 8.5,
    "queue_position": None,
}


@pytest.fixture
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    settings.HOME = Home(tmp_path / "home")
    settings.HOME.make()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return settings.HOME


async def install(client: AsyncClient, **body: Any) -> Any:
    return await client.post("/v1/models/install", body, content_type="application/json")


async def test_install_starts_a_download_and_answers_at_once(
    async_client: AsyncClient, runtime: Runtime, hub: Hub
) -> None:
    response = await install(async_client, model_id=LLAMA, name="llama")
    body = response.json()
    assert response.status_code == 202
    assert body["message"] == "Model 'llama' is being downloaded"
    assert (body["model_name"], body["model_id"]) == ("llama", LLAMA)
    assert body["status"] == "downloading"
    job = await Download.objects.aget()
    assert (job.repository, job.name, job.status) == (LLAMA, "llama", "queued")
    status = (await async_client.get(body["status_url"])).json()
    assert (status["status"], status["loaded"]) == ("queued", False)
    assert STATUS.keys() <= status.keys()


async def test_what_is_here_is_installed_as_documented(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("qwen-7b-4bit", path="/q", huggingface_id="a/q")
    body = (await install(async_client, model_id="a/q", name="qwen-7b-4bit")).json()
    assert body["message"] == "Model 'qwen-7b-4bit' installed successfully"
    assert body["status"] == "installed"
    assert not await Download.objects.aexists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model_id": "nobody/nothing"}, 404),
        ({"model_id": "no-slash"}, 400),
        ({"model_id": LLAMA, "name": "a/b"}, 400),
        ({"name": "x"}, 400),
        ({"model_id": 7}, 400),
    ],
)
async def test_install_refuses_what_cannot_be(
    async_client: AsyncClient, runtime: Runtime, hub: Hub, body: dict[str, Any], status: int
) -> None:
    response = await install(async_client, **body)
    assert response.status_code == status
    assert response.json()["detail"]
    assert not await Download.objects.aexists()


async def test_a_name_that_is_taken_is_refused(
    async_client: AsyncClient, runtime: Runtime, hub: Hub
) -> None:
    await amake_model("mine")
    await Download.objects.acreate(repository="a/other", name="coming")
    for name in ("mine", "coming"):
        response = await install(async_client, model_id=LLAMA, name=name)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "name"
    assert await Download.objects.acount() == 1


async def test_a_folder_that_the_disk_keeps_says_so(
    async_client: AsyncClient, runtime: Runtime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(home.models, "kept")
    await sync_to_async(scan)()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    response = await async_client.delete("/v1/models/kept")
    assert response.status_code == 500
    assert f"“kept” could not be deleted: Permission denied ({folder})" in response.json()["detail"]
    assert await Model.objects.filter(name="kept").aexists()


async def test_a_damaged_cache_goes_too_and_counts(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    snapshot = make_cached(tmp_path / "cache", "author/odd")
    await sync_to_async(scan)()
    (snapshot.parent / "stray").write_text("the library refuses a cache with such a file")
    body = (await async_client.delete("/v1/models/author/odd")).json()
    assert body["freed_bytes"] > 1000
    assert not snapshot.parent.parent.exists()


async def test_a_link_in_the_cache_goes_alone(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    snapshot = make_cached(tmp_path / "elsewhere", "author/real")
    (tmp_path / "cache").mkdir()
    link = tmp_path / "cache" / "models--author--real"
    link.symlink_to(snapshot.parent.parent)
    await sync_to_async(scan)()
    assert (await async_client.delete("/v1/models/author/real")).status_code == 200
    assert ((snapshot / "config.json").exists(), link.is_symlink()) == (True, False)


async def test_delete_removes_a_folder_and_says_what_came_back(
    async_client: AsyncClient, runtime: Runtime, home: Home
) -> None:
    folder = make_folder(home.models, "tiny")
    size = removal.size_of(folder)
    await sync_to_async(scan)()
    response = await async_client.delete("/v1/models/tiny")
    assert response.json() == {
        "message": "Model 'tiny' deleted successfully",
        "removed_files": True,
        "status": "deleted",
        "freed_bytes": size,
    }
    assert not folder.exists()
    assert home.models.exists()


async def test_delete_from_the_cache_leaves_other_repositories(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    gone = make_cached(tmp_path / "cache", "author/gone")
    stays = make_cached(tmp_path / "cache", "author/stays")
    await sync_to_async(scan)()
    body = (await async_client.delete("/v1/models/author/gone")).json()
    assert body["freed_bytes"] > 1000
    assert not gone.parent.parent.exists()
    assert (stays / "config.json").exists()
    assert await Model.objects.filter(huggingface_id="author/stays").aexists()


async def test_delete_can_keep_the_files(
    async_client: AsyncClient, runtime: Runtime, home: Home
) -> None:
    folder = make_folder(home.models, "tiny")
    await sync_to_async(scan)()
    body = (await async_client.delete("/v1/models/tiny?remove_files=false")).json()
    assert body["removed_files"] is False
    await sync_to_async(scan)()
    assert not await Model.objects.filter(name="tiny").aexists()
    assert folder.exists()
    await sync_to_async(register)(folder)
    assert await Model.objects.filter(name="tiny").aexists()


async def test_a_registered_folder_is_forgotten_unless_its_files_are_asked_for(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "elsewhere", "mine")
    await sync_to_async(register)(folder)
    body = (await async_client.delete("/v1/models/mine")).json()
    assert (body["removed_files"], folder.exists()) == (False, True)
    await sync_to_async(register)(folder)
    body = (await async_client.delete("/v1/models/mine?outside=true")).json()
    assert (body["removed_files"], folder.exists()) == (True, False)


async def test_a_linked_folder_is_unlinked_and_what_it_leads_to_stays(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    outside = make_folder(tmp_path / "elsewhere", "real")
    (home.models / "link").symlink_to(outside)
    await sync_to_async(scan)()
    assert (await async_client.delete("/v1/models/link")).status_code == 200
    assert (outside / "config.json").exists()


async def test_delete_unloads_first(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo", source="registered")
    await runtime.pool.load(model.spec())
    assert (await async_client.delete("/v1/models/echo")).status_code == 200
    assert runtime.pool.residents() == []


async def test_the_starter_and_what_is_in_use_stay(
    async_client: AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await amake_model("starter", source="starter")
    await amake_model("busy", path="/busy", source="registered")
    monkeypatch.setattr(removal, "reasons_to_stay", [lambda model: "A training uses it."])
    assert (await async_client.delete("/v1/models/starter")).status_code == 400
    response = await async_client.delete("/v1/models/busy")
    assert (response.status_code, response.json()["detail"]) == (409, "A training uses it.")
    assert await Model.objects.acount() == 2


async def test_a_folder_outside_the_roots_is_never_removed(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    outside = make_folder(tmp_path / "elsewhere", "other")
    await amake_model("other", path=str(outside), source="folder", kind="text")
    assert (await async_client.delete("/v1/models/other")).status_code == 400
    assert outside.exists()


async def test_deleting_what_is_not_there_is_a_404(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    assert (await async_client.delete("/v1/models/none")).status_code == 404


async def test_the_managers_list_has_the_rows(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("echo", huggingface_id="a/echo", author="a")
    body = (await async_client.get("/v1/manager/models")).json()
    assert body["models"][0]["huggingface_id"] == "a/echo"
    assert {"id", "name", "type", "status", "memory_required_gb"} <= body["models"][0].keys()


async def test_status_of_a_loaded_model_as_documented(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", memory_bytes=1 << 30)
    await runtime.pool.load(model.spec())
    body = (await async_client.get("/v1/manager/models/echo/status")).json()
    assert STATUS.keys() <= body.keys()
    assert (body["status"], body["loaded"], body["memory_usage_gb"]) == ("loaded", True, 1.0)


async def test_status_of_a_download_has_its_progress(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await Download.objects.acreate(
        repository="a/big", status="running", progress=0.25, done_bytes=25_000_000,
        total_bytes=100_000_000, speed_bytes=5_000_000, seconds_left=15,
    )  # fmt: skip
    body = (await async_client.get("/v1/manager/models/a/big/status")).json()
    assert (body["status"], body["download_progress"]) == ("downloading", 25.0)
    assert (body["downloaded_mb"], body["total_mb"]) == (25.0, 100.0)
    assert (body["download_speed_mbps"], body["download_eta_seconds"]) == (5.0, 15)
    await Download.objects.aupdate(status="paused")
    body = (await async_client.get("/v1/manager/models/a/big/status")).json()
    assert (body["status"], body["download_status"]) == ("paused", "paused")
    assert (body["download_speed_mbps"], body["download_eta_seconds"]) == (0.0, None)


async def test_priority_reorders_what_waits(async_client: AsyncClient, runtime: Runtime) -> None:
    await Download.objects.acreate(repository="a/one")
    await Download.objects.acreate(repository="a/two")
    response = await async_client.post(
        "/v1/manager/models/two/priority", {"priority": 10}, content_type="application/json"
    )
    assert response.json() == {
        "model": "two",
        "priority": 10,
        "message": "Priority update requested",
        "applied": True,
    }
    rows = [job.repository async for job in Download.objects.all().in_order()]
    assert rows == ["a/two", "a/one"]


async def test_priority_of_nothing_is_a_404(async_client: AsyncClient, runtime: Runtime) -> None:
    response = await async_client.post(
        "/v1/manager/models/none/priority", {"priority": 1}, content_type="application/json"
    )
    assert (response.status_code, list(response.json())) == (404, ["detail"])
