"""/v1/discover against its document, over the real client and a local hub."""

import time
from datetime import datetime
from typing import Any

import pytest
from django.test import AsyncClient

from mlxgui.system.models import Setting
from models_app import discovery
from tests.hub import Hub

pytestmark = pytest.mark.django_db(transaction=True)

LLAMA = "mlx-community/Llama-3.2-3B-Instruct-4bit"
WHEN = "2025-01-01T12:00:00"
ITEM: dict[str, Any] = {
    "id": LLAMA,
    "name": "Llama-3.2-3B-Instruct-4bit",
    "author": "mlx-community",
    "downloads": 12543,
    "likes": 89,
    "model_type": "text",
    "size_gb": 2.1,
    "estimated_memory_gb": 2.5,
    "mlx_compatible": True,
    "has_mlx_version": True,
    "mlx_repo_id": None,
    "tags": ["mlx", "llama", "instruct"],
    "description": "Llama 3.2 3B Instruct quantized to 4-bit",
    "updated_at": WHEN,
}
DETAIL = {
    **ITEM,
    "created_at": WHEN,
    "library_name": "transformers",
    "pipeline_tag": "text-generation",
    "system_compatible": True,
    "compatibility_message": "✅ Compatible - 18.5GB available, 2.5GB required",
}
DOCUMENTED_CATEGORIES = {
    "Popular Text Models", "Vision Models", "Multimodal Models", "Code Models", "Chat Models",
    "Small Models (< 10GB)", "Large Models (> 50GB)",
}  # fmt: skip


def assert_shaped_like(documented: dict[str, Any], given: dict[str, Any]) -> None:
    for key, example in documented.items():
        assert type(given[key]) is type(example), key
        if example == WHEN:
            assert datetime.fromisoformat(given[key]).tzinfo is not None


async def get(client: AsyncClient, path: str) -> dict[str, Any]:
    response = await client.get(path)
    assert response.status_code == 200, response.content
    found = response.json()
    assert isinstance(found, dict)
    return found


def ids(body: dict[str, Any]) -> list[str]:
    return [one["id"].partition("/")[2] for one in body["models"]]


@pytest.mark.parametrize("path", ["models?query=llama", "popular?limit=1", "models"])
async def test_lists_have_the_documented_shape(
    async_client: AsyncClient, hub: Hub, path: str
) -> None:
    body = await get(async_client, f"/v1/discover/{path}")
    assert body["total"] == len(body["models"]) > 0
    assert_shaped_like(ITEM, body["models"][0])
    assert body["models"][0]["id"] == LLAMA


async def test_only_models_in_mlx_format_are_listed(async_client: AsyncClient, hub: Hub) -> None:
    assert "not-mlx" not in ids(await get(async_client, "/v1/discover/models"))


async def test_sizes_come_from_the_weights_types(async_client: AsyncClient, hub: Hub) -> None:
    one = (await get(async_client, "/v1/discover/models?query=llama"))["models"][0]
    assert one["size_gb"] == round((401_604_608 * 4 + 100_597_760 * 2) / (1 << 30), 2)
    assert one["parameters"] == 401_604_608 * 8 + 100_597_760 - 401_604_608 * 8 // 32
    assert one["quantization"] == "4-bit"


@pytest.mark.parametrize(
    ("sort", "first"),
    [("downloads", "Llama-3.2-3B-Instruct-4bit"), ("trending", "Qwen2-VL-72B-Instruct-8bit")],
)
async def test_lists_are_sorted(async_client: AsyncClient, hub: Hub, sort: str, first: str) -> None:
    assert ids(await get(async_client, f"/v1/discover/models?sort={sort}"))[0] == first


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("vision", ["Qwen2-VL-72B-Instruct-8bit"]),
        ("stt", ["whisper-tiny"]),
        ("embeddings", ["embedding-small"]),
        ("trending?limit=1", ["Qwen2-VL-72B-Instruct-8bit"]),
    ],
)
async def test_lists_by_kind(
    async_client: AsyncClient, hub: Hub, path: str, found: list[str]
) -> None:
    body = await get(async_client, f"/v1/discover/{path}")
    assert ids(body) == found
    assert "model_type" in body["models"][0]


async def test_categories_are_the_documented_ones(async_client: AsyncClient, hub: Hub) -> None:
    found = (await get(async_client, "/v1/discover/categories"))["categories"]
    assert found.keys() >= DOCUMENTED_CATEGORIES
    assert found["Chat Models"] == [LLAMA]
    assert found["Large Models (> 50GB)"] == ["mlx-community/Qwen2-VL-72B-Instruct-8bit"]


async def test_compatible_models_fit(async_client: AsyncClient, hub: Hub) -> None:
    body = await get(async_client, "/v1/discover/compatible?max_memory_gb=8")
    assert ids(body) == ["Llama-3.2-3B-Instruct-4bit", "embedding-small"]
    assert body["max_memory_gb"] == 8.0
    assert body["models"][0]["memory_fit"] == "2.1 GB required, 8.0 GB available"
    assert_shaped_like(ITEM, body["models"][0])


async def test_details_have_the_documented_shape(
    async_client: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = await get(async_client, f"/v1/discover/models/{LLAMA}")
    assert body["compatibility_message"].startswith("✅ Compatible - ")
    assert_shaped_like({**DETAIL, "size_gb": None}, {**body, "size_gb": None})
    assert [file["path"] for file in body["files"]][0] == "config.json"
    assert body["context_window"] == 4096


@pytest.mark.parametrize(
    ("knob", "status", "words"),
    [
        ((429, {"Retry-After": "30"}), 429, "Try again in 30 seconds"),
        ((500, {}), 502, "status 500"),
        ((401, {"X-Error-Message": "Invalid credentials in Authorization header"}), 403, "token"),
    ],
)
async def test_failures_of_the_hub_say_what_to_do(
    async_client: AsyncClient, hub: Hub, knob: Any, status: int, words: str
) -> None:
    hub.knobs.status["/api/models"] = knob
    response = await async_client.get("/v1/discover/models")
    assert response.status_code == status
    assert words in response.json()["detail"]
    assert len(hub.asked) == 1


async def test_a_limit_says_when_to_come_back(async_client: AsyncClient, hub: Hub) -> None:
    hub.knobs.status["/api/models"] = (429, {"ratelimit": '"api";r=0;t=55'})
    response = await async_client.get("/v1/discover/models")
    assert response["Retry-After"] == "55"


async def test_no_network_is_a_503(
    async_client: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    response = await async_client.get("/v1/discover/models")
    assert response.status_code == 503
    assert "cannot be reached" in response.json()["detail"]


async def test_what_has_no_weights_does_not_count_as_fitting(
    async_client: AsyncClient, hub: Hub
) -> None:
    hub.add("author/empty", {"config.json": b"{}"})
    body = await get(async_client, "/v1/discover/models/author/empty")
    assert (body["system_compatible"], body["estimated_memory_gb"]) == (False, None)
    assert "no safetensors weights" in body["compatibility_message"]


async def test_embeddings_of_both_tasks_are_in_one_order(
    async_client: AsyncClient, hub: Hub
) -> None:
    for name, likes in (("author/few", 1), ("author/many", 99)):
        hub.add(name, {}, pipeline_tag="feature-extraction", likes=likes)
    found = await discovery.embeddings("", limit=2, sort="likes")
    assert [one.repository for one in found.value] == [
        "author/many",
        "mlx-community/embedding-small",
    ]
    mine = await discovery.embeddings("", limit=5, sort="trending", author="author")
    assert {one.author for one in mine.value} == {"author"}


async def test_an_unknown_repository_is_a_404(async_client: AsyncClient, hub: Hub) -> None:
    response = await async_client.get("/v1/discover/models/nobody/nothing")
    assert response.status_code == 404
    assert "“nobody/nothing” is not on the hub" in response.json()["detail"]
    response = await async_client.get("/v1/discover/models/nobody")
    assert "“nobody” is not on the hub" in response.json()["detail"]


async def test_answers_are_kept_and_say_how_old_they_are(
    async_client: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await get(async_client, "/v1/discover/models")
    asked = len(hub.asked)
    assert (await get(async_client, "/v1/discover/models"))["age_seconds"] == 0
    assert len(hub.asked) == asked
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0.0)
    hub.knobs.status["/api/models"] = (500, {})
    old = await get(async_client, "/v1/discover/models")
    assert "status 500" in old["warning"]
    assert ids(old)


async def test_every_answer_of_the_hub_says_how_old_it_is(
    async_client: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock on the wall, which goes on while the computer sleeps."""
    paths = ("models", "categories", "compatible", "embeddings", f"models/{LLAMA}")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert {(await get(async_client, f"/v1/discover/{path}"))["age_seconds"] for path in paths} == {
        0
    }
    monkeypatch.setattr(time, "time", lambda: now + 120)
    for path in paths:
        assert (await get(async_client, f"/v1/discover/{path}"))["age_seconds"] in range(118, 121)
    page = (await async_client.get(f"/discover/{LLAMA}/")).content.decode()
    assert "The hub was asked 2 min ago." in page or "The hub was asked 1 min ago." in page


async def test_the_token_of_the_settings_opens_gated_models(
    async_client: AsyncClient, hub: Hub
) -> None:
    hub.repositories[LLAMA].gated = True
    hub.knobs.token = "hf_right"
    gated = await get(async_client, f"/v1/discover/models/{LLAMA}")
    assert (gated["gated"], gated["context_window"]) == (True, None)
    await Setting.objects.awrite("huggingface_token", "hf_right")
    assert (await get(async_client, f"/v1/discover/models/{LLAMA}"))["context_window"] == 4096


@pytest.mark.parametrize(
    "question",
    ["models?limit=0", "models?limit=x", "models?sort=size", "compatible?max_memory_gb=-1"],
)
async def test_what_makes_no_sense_is_refused_by_name(
    async_client: AsyncClient, hub: Hub, question: str
) -> None:
    response = await async_client.get(f"/v1/discover/{question}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] in question
