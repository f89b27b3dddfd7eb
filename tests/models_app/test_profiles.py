"""Profiles over the API: other names for one loaded model."""

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.engine.errors import ModelNotFound
from mlxgui.runtime import Runtime
from models_app.adapters import aspec_for, spec_for
from models_app.models import Model, Profile
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)


async def amake_profile(model: Model, name: str = "short", **defaults: Any) -> Profile:
    return await Profile.objects.acreate(model=model, name=name, defaults=defaults)


async def ask(client: AsyncClient, model: str, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello there"}], **more}
    return await client.post("/v1/chat/completions", body, content_type="application/json")


async def test_a_profile_answers_without_a_worker_of_its_own(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", huggingface_id="org/echo")
    await amake_profile(model, max_tokens=1)
    for name in ("echo", "echo:short", "org/echo:short", f"{model.uuid}:short"):
        assert (await ask(async_client, name)).status_code == 200
    assert [one.name for one in runtime.pool.residents()] == ["echo"]


async def test_its_values_go_before_the_models_and_after_the_requests(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", defaults={"temperature": 0.5, "top_k": 3})
    await amake_profile(model, temperature=0.1)
    row, spec = await aspec_for("echo:short")
    assert row.sampling_defaults == {"temperature": 0.1, "top_k": 3}
    assert spec.key == (await aspec_for("echo"))[1].key
    assert row.defaults == {"temperature": 0.5, "top_k": 3}


async def test_a_changed_profile_holds_at_once(runtime: Runtime) -> None:
    profile = await amake_profile(await amake_model("echo"), temperature=0.1)
    assert (await aspec_for("echo:short"))[0].sampling_defaults == {"temperature": 0.1}
    profile.defaults = {"temperature": 0.9}
    await profile.asave()
    assert (await aspec_for("echo:short"))[0].sampling_defaults == {"temperature": 0.9}
    await profile.adelete()
    with pytest.raises(ModelNotFound, match="has no profile 'short'"):
        await aspec_for("echo:short")


async def test_unknown_profiles_and_models_are_not_found(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("echo")
    assert (await ask(async_client, "echo:none")).status_code == 404
    assert (await ask(async_client, "none:short")).status_code == 404


async def test_the_list_of_models_has_profiles_and_adapters(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    model = await amake_model("echo", huggingface_id="org/echo")
    await amake_profile(model)
    await amake_model(
        "tuned", path=str(tmp_path), adapter_path=str(tmp_path), base_model="org/echo",
        is_finetuned=True, error_message="This is an adapter.",
    )  # fmt: skip
    body = (await async_client.get("/v1/models")).json()
    listed = {one["id"]: (one["parent"], one.get("variant")) for one in body["data"]}
    assert listed == {
        "echo": (None, None),
        "echo:short": ("echo", "profile"),
        "echo@tuned": ("echo", "adapter"),
    }
    assert [one["name"] for one in body["models"]] == ["echo", "tuned"]
    for name in listed:
        response = await async_client.get(f"/v1/models/{name}", headers={"X-Stainless-Lang": "py"})
        assert response.json()["id"] == name


async def test_load_and_unload_by_a_profiles_name(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_profile(await amake_model("echo"))
    assert (await async_client.post("/v1/models/echo:short/load")).status_code == 200
    assert (await async_client.get("/v1/models/echo:short/health")).json()["healthy"]
    assert (await async_client.post("/v1/models/echo:short/unload")).status_code == 200
    assert runtime.pool.residents() == []


async def test_deleting_a_profile_leaves_its_model(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_profile(await amake_model("echo"))
    response = await async_client.delete("/v1/models/echo:short")
    assert (response.status_code, response.json()["removed_files"]) == (200, False)
    assert await Model.objects.filter(name="echo").aexists()
    assert not await Profile.objects.aexists()


@pytest.mark.django_db
def test_a_profile_with_an_adapter_is_a_worker_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "adapters.safetensors").write_bytes(b"\0" * 64)
    model = make_model("echo", memory_bytes=1000)
    Profile.objects.create(model=model, name="tuned", adapter_path=str(tmp_path))
    row, spec = spec_for("echo:tuned")
    assert (spec.name, spec.adapter_path) == ("echo:tuned", str(tmp_path))
    assert spec.memory_bytes == 1064
    assert spec.key != spec_for("echo")[1].key
