"""Settings and profiles with a real tiny model: what a person sets reaches the engine."""

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.runtime import Runtime
from models_app import library
from models_app.models import Model, Profile
from tests import tiny

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.model]

aregister = sync_to_async(library.register)


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling them anew for this data folder would take longer than the tests."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")


async def ask(client: AsyncClient, model: str, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    body |= more
    response = await client.post("/v1/chat/completions", body, content_type="application/json")
    assert response.status_code == 200, response.content
    return response.json()


async def test_a_profiles_system_prompt_is_read_by_the_loaded_model(
    async_client: AsyncClient, runtime: Runtime, text_model: Path
) -> None:
    model = await aregister(text_model, "tiny")
    defaults = {"system_prompt": "Answer like a pirate.", "max_tokens": 2}
    await Profile.objects.acreate(model=model, name="pirate", defaults=defaults)
    plain = (await ask(async_client, "tiny"))["usage"]["prompt_tokens"]
    pirate = (await ask(async_client, "tiny:pirate"))["usage"]["prompt_tokens"]
    own = [{"role": "system", "content": "x"}, {"role": "user", "content": "Hi"}]
    brought = (await ask(async_client, "tiny:pirate", messages=own))["usage"]["prompt_tokens"]
    assert pirate > brought > plain
    assert len(runtime.pool.residents()) == 1
    short = await ask(async_client, "tiny:pirate", max_tokens=None)
    assert short["usage"]["completion_tokens"] <= 2


async def test_a_cache_that_cannot_be_quantised_says_why(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    narrow = tiny.make_text_model(tmp_path / "narrow", tiny.GEMMA3)  # heads of 32 numbers
    await aregister(narrow, "narrow")
    body = {"model_id": "narrow", "kv_quantization": 8}
    response = await async_client.post(
        "/api/engine/models/load", body, content_type="application/json"
    )
    assert response.status_code == 400
    assert "kv_quantization does not go with “narrow”" in response.json()["detail"]
    await ask(async_client, "narrow")  # without that wish it is as sound as before
    assert (await Model.objects.aget(name="narrow")).load_error == ""
