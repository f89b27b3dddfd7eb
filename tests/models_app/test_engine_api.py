"""/api/engine/models, as Silicon Studio's clients use it."""

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.runtime import Runtime
from models_app.downloads import Download
from models_app.models import Model
from tests.factories import make_model
from tests.models_app.folders import make_folder

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
ENTRY = {
    "id", "name", "size", "family", "architecture", "context_window", "quantization", "url",
    "is_custom", "is_finetuned", "base_model", "adapter_path", "downloaded", "downloading",
    "download_progress", "local_path",
}  # fmt: skip


async def post(client: AsyncClient, route: str, /, **body: Any) -> Any:
    return await client.post(f"/api/engine/models/{route}", body, content_type="application/json")


async def test_the_list_has_what_is_here_and_what_is_coming(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", weights_bytes=int(4.2 * (1 << 30)), context_tokens=32_768)
    await Download.objects.acreate(repository="a/new", status="running", progress=0.5)
    here, coming = (await async_client.get("/api/engine/models")).json()
    assert here.keys() >= ENTRY
    assert (here["id"], here["size"], here["context_window"]) == (str(model.uuid), "4.2GB", "32k")
    assert (here["downloaded"], coming["downloaded"]) == (True, False)
    assert (coming["downloading"], coming["download_progress"]) == (True, 50)


async def test_a_download_is_started(async_client: AsyncClient, runtime: Runtime) -> None:
    response = await post(async_client, "download", model_id="mlx-community/Qwen3-1.7B-MLX-8bit")
    assert response.json() == {
        "status": "download_started",
        "model_id": "mlx-community/Qwen3-1.7B-MLX-8bit",
    }
    assert (await Download.objects.aget()).repository == "mlx-community/Qwen3-1.7B-MLX-8bit"


async def test_load_active_and_unload(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo", architecture="qwen3", quantization="4-bit")
    assert (await async_client.get("/api/engine/models/active")).json() == {"model": None}
    loaded = await post(async_client, "load", model_id=str(model.uuid))
    assert loaded.json() == {
        "status": "loaded", "model_id": str(model.uuid), "context_window": 4096,
        "architecture": "qwen3", "quantization": "4-bit", "is_vision": False,
    }  # fmt: skip
    active = (await async_client.get("/api/engine/models/active")).json()["model"]
    assert active.keys() == {
        "id", "name", "size", "path", "architecture", "context_window", "is_vision",
    }  # fmt: skip
    assert (await post(async_client, "unload")).json() == {"status": "unloaded"}
    assert runtime.pool.residents() == []


@pytest.mark.parametrize(("bits", "status"), [(4, 200), (8, 200), (5, 400), (0, 400), ("4", 400)])
async def test_a_quantised_cache_is_4_or_8_bits(
    async_client: AsyncClient, runtime: Runtime, bits: Any, status: int
) -> None:
    await amake_model("echo")
    response = await post(async_client, "load", model_id="echo", kv_quantization=bits)
    assert response.status_code == status
    assert status == 200 or "kv_quantization" in response.json()["detail"]


async def test_a_loaded_model_is_loaded_anew_with_a_quantised_cache(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("echo")
    pids = []
    for bits in (None, 8, 8, 4, None):
        body = {"model_id": "echo"} | ({"kv_quantization": bits} if bits else {})
        assert (await post(async_client, "load", **body)).status_code == 200
        pids.append(runtime.pool.residents()[0].pid)
    assert len(set(pids)) == 3  # plain, 8 bits, 4 bits; what names none takes what is there
    assert pids[1] == pids[2] and pids[3] == pids[4]
    assert (await Model.objects.aget()).kv_quantization is None


@pytest.mark.parametrize(("row", "start"), [(None, 0), (77, 77), (0, 0)])
async def test_it_is_quantised_from_the_first_token_unless_the_model_says_otherwise(
    async_client: AsyncClient, runtime: Runtime, row: int | None, start: int
) -> None:
    model = await amake_model("echo", kv_start_tokens=row)
    await post(async_client, "load", model_id="echo", kv_quantization=8)
    told = await runtime.pool.ask(model.key, "load_options")
    assert (told["kv_bits"], told.get("kv_start_tokens", 5000)) == (8, start)


async def test_models_without_a_kv_cache_say_so(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("ears", kind="stt")
    response = await post(async_client, "load", model_id="ears", kv_quantization=8)
    assert (response.status_code, "keeps no KV cache" in response.json()["detail"]) == (400, True)


async def test_a_folder_is_registered_and_deleted_again(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, "mine")
    response = await post(async_client, "register", name="My Model", path=str(folder), url="")
    entry = response.json()[0]
    assert entry.keys() >= ENTRY
    assert (entry["name"], entry["is_custom"]) == ("My Model", True)
    deleted = await post(async_client, "delete", model_id=entry["id"])
    assert (deleted.json()["status"], deleted.json()["model_id"]) == ("deleted", entry["id"])
    assert folder.exists()


async def test_the_page_of_a_registered_folder_is_kept(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    folder, page = str(make_folder(tmp_path, "mine")), "https://huggingface.co/author/mine"
    wrong = await post(async_client, "register", name="mine", path=folder, url="file:///etc")
    assert (wrong.status_code, "url must begin" in wrong.json()["detail"]) == (400, True)
    entry = (await post(async_client, "register", name="mine", path=folder, url=page)).json()[0]
    assert entry["url"] == page
    await post(async_client, "verify")
    listed = (await async_client.get("/api/engine/models")).json()
    assert [one["url"] for one in listed if one["path"] == folder] == [page]


async def test_scan_registers_every_sound_model(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    make_folder(tmp_path / "a" / "b", "deep")
    make_folder(tmp_path, "shallow")
    make_folder(tmp_path, "broken", files={"tokenizer.json": "{"})
    found = (await post(async_client, "scan", path=str(tmp_path))).json()
    assert sorted(one["name"] for one in found) == ["deep", "shallow"]
    assert await Model.objects.filter(name="broken").aexists()


async def test_format_says_what_the_tokenizer_says(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    tokens = {"eos_token": "</s>", "bos_token": {"content": "<s>"}, "chat_template": "T" * 300}
    folder = make_folder(tmp_path, "mine", files={"tokenizer_config.json": tokens})
    await post(async_client, "register", name="mine", path=str(folder))
    body = (await async_client.get("/api/engine/models/mine/format")).json()
    assert (body["eos_token"], body["bos_token"], body["pad_token"]) == ("</s>", "<s>", None)
    assert (body["model_type"], body["has_chat_template"]) == ("qwen3", True)
    assert body["chat_template_preview"] == "T" * 200


async def test_adapters_are_the_finetuned_ones(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("echo")
    await amake_model("tuned", path="/t", is_finetuned=True, adapter_path="/t")
    found = (await async_client.get("/api/engine/models/adapters")).json()
    assert [one["name"] for one in found] == ["tuned"]


async def test_verify_finds_and_removes_orphans(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    await amake_model("gone", path=str(tmp_path / "gone"), source="registered")
    found = (await post(async_client, "verify")).json()
    assert [one["name"] for one in found["orphans"]] == ["gone"]
    assert (await post(async_client, "verify", cleanup=True)).json()["removed"] == 1
    assert not await Model.objects.filter(name="gone").aexists()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("load", {"model_id": "none"}, 404),
        ("delete", {"model_id": "none"}, 404),
        ("load", {}, 400),
        ("register", {"name": "x", "path": "relative"}, 400),
        ("scan", {"path": "/no/such/folder"}, 400),
        ("download", {"model_id": "x"}, 400),
    ],
)
async def test_errors_have_the_documented_shape(
    async_client: AsyncClient, runtime: Runtime, path: str, body: dict[str, Any], status: int
) -> None:
    response = await post(async_client, path, **body)
    assert (response.status_code, list(response.json())) == (status, ["detail"])
