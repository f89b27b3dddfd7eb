"""The routes for models, against what the documents show. The pool is real, its models are fake."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.runtime import Runtime
from models_app.models import Model
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)
WHEN = "2025-01-04T10:30:00"
LISTED = {
    "id": 1,
    "name": "llama-3.2-3b-instruct",
    "type": "text",
    "status": "loaded",
    "memory_required_gb": 8.0,
    "use_count": 15,
    "last_used_at": WHEN,
    "created_at": WHEN,
}
DETAILS = {
    **LISTED,
    "path": "/path/to/model",
    "version": "1.0",
    "updated_at": WHEN,
    "error_message": None,
    "metadata": {},
}
OPENAI_ITEM = {
    "id": "qwen3-8b-6bit",
    "object": "model",
    "created": 1751234567,
    "owned_by": "mlx-gui",
    "permission": [],
    "root": "qwen3-8b-6bit",
    "parent": None,
}
HEALTH = {
    "model": "llama-3.2-3b-instruct",
    "status": "loaded",
    "healthy": True,
    "last_used": WHEN,
}


def assert_shaped_like(documented: dict[str, Any], given: dict[str, Any]) -> None:
    """Every documented key, with a value of the documented type; times that can be read."""
    for key, example in documented.items():
        assert type(given[key]) is type(example), key
        if example == WHEN:
            assert datetime.fromisoformat(given[key]).tzinfo is not None


async def a_used_model() -> Model:
    return await amake_model(
        "echo", memory_bytes=8 << 30, version="1.0", use_count=15, last_used_at=datetime.now(UTC)
    )


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
async def test_the_list_has_both_documented_shapes(
    async_client: AsyncClient, runtime: Runtime, path: str
) -> None:
    await a_used_model()
    body = (await async_client.get(path)).json()
    assert body["object"] == "list"
    assert_shaped_like(OPENAI_ITEM, body["data"][0])
    assert_shaped_like(LISTED, body["models"][0])
    assert body["data"][0]["id"] == body["models"][0]["name"] == "echo"
    extra = {"type", "status", "loaded", "context_window", "capabilities"}
    assert extra <= body["data"][0].keys()


async def test_a_broken_model_is_listed_but_not_offered(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("bad", error_message="It is damaged.")
    body = (await async_client.get("/v1/models")).json()
    assert body["data"] == []
    assert body["models"][0]["status"] == "failed"


async def test_details_have_both_documented_shapes(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await a_used_model()
    body = (await async_client.get("/v1/models/echo")).json()
    assert_shaped_like(DETAILS, body)
    assert (body["object"], body["owned_by"], type(body["created"])) == ("model", "mlx-gui", int)


async def test_a_repository_id_with_its_slash_names_a_model(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("echo", huggingface_id="org/echo-4bit")
    assert (await async_client.get("/v1/models/org/echo-4bit")).json()["name"] == "echo"
    health = await async_client.get("/v1/models/org/echo-4bit/health")
    assert health.json()["status"] == "unloaded"


async def test_load_health_and_unload_as_documented(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await a_used_model()
    loaded = await async_client.post("/v1/models/echo/load?priority=3")
    assert loaded.json() == {"message": "Model 'echo' loaded successfully", "status": "loaded"}
    again = await async_client.post("/v1/models/echo/load")
    assert again.json() == {"message": "Model 'echo' is already loaded", "status": "loaded"}

    health = (await async_client.get("/v1/models/echo/health")).json()
    assert_shaped_like(HEALTH, health)
    assert health["healthy"] is True
    assert [one.state for one in runtime.pool.residents()] == ["ready"]

    gone = await async_client.post("/v1/models/echo/unload")
    assert gone.json() == {"message": "Model 'echo' unloaded successfully", "status": "unloaded"}
    again = await async_client.post("/v1/models/echo/unload")
    assert again.json() == {"message": "Model 'echo' was not loaded", "status": "unloaded"}
    assert runtime.pool.residents() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/models/none"),
        ("get", "/v1/models/none/health"),
        ("post", "/v1/models/none/load"),
        ("post", "/v1/models/none/unload"),
    ],
)
async def test_an_unknown_model_is_a_404_in_both_shapes(
    async_client: AsyncClient, runtime: Runtime, method: str, path: str
) -> None:
    response = await getattr(async_client, method)(path)
    assert response.status_code == 404
    assert response.json()["detail"] == "Model 'none' not found"
    assert response.json()["error"]["code"] == "model_not_found"


async def test_a_model_that_fails_to_load_is_a_500_and_says_why(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("broken")
    response = await async_client.post("/v1/models/broken/load")
    assert response.status_code == 500
    assert "never loads" in response.json()["detail"]
    details = (await async_client.get("/v1/models/broken")).json()
    assert details["status"] == "failed"
    assert "never loads" in details["error_message"]


async def test_a_broken_folder_is_never_loaded(async_client: AsyncClient, runtime: Runtime) -> None:
    await amake_model("echo", error_message="config.json is damaged.")
    response = await async_client.post("/v1/models/echo/load")
    assert response.status_code == 500
    assert "config.json is damaged" in response.json()["detail"]
    assert runtime.pool.residents() == []


async def test_too_large_a_model_is_a_400_with_the_documented_words(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    await amake_model("echo", memory_bytes=1 << 50)
    response = await async_client.post("/v1/models/echo/load")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Insufficient memory - ")


@pytest.mark.parametrize("priority", ["soon", "1.5", "", "99999999999"])
async def test_a_priority_that_is_no_number_is_refused_by_name(
    async_client: AsyncClient, runtime: Runtime, priority: str
) -> None:
    await amake_model("echo")
    response = await async_client.post(f"/v1/models/echo/load?priority={priority}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "priority"


async def test_other_methods_are_refused(async_client: AsyncClient, runtime: Runtime) -> None:
    assert (await async_client.post("/v1/models")).status_code == 405
    assert (await async_client.get("/v1/models/echo/load")).status_code == 405
