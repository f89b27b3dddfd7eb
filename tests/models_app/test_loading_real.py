"""Settings and profiles with a real tiny model: what a person sets reaches the engine."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.runtime import Runtime
from models_app import library
from models_app.models import Model, Profile
from tests import tiny
from tests.models_app.broken import edit

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


MARK = "from pathlib import Path\nPath({marker!r}).touch()\n"
OWN_MODEL = MARK + "from mlx_lm.models.qwen3 import Model, ModelArgs\n"
OWN_TOKENIZER = MARK + (
    "from transformers import PreTrainedTokenizerFast\n"
    "class Own(PreTrainedTokenizerFast):\n    pass\n"
)


def with_code(text_model: Path, folder: Path, kind: str) -> Path:
    """A sound model whose own code leaves a mark beside it; returns the mark."""
    shutil.copytree(text_model, folder)
    marker = folder.with_name(f"{folder.name}-code-ran")
    if kind == "model":
        edit(folder / "config.json", model_file="own.py")
    else:
        edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "own.Own"]})
    code = OWN_MODEL if kind == "model" else OWN_TOKENIZER
    (folder / "own.py").write_text(code.format(marker=str(marker)))
    return marker


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
async def test_code_runs_from_the_folder_that_was_allowed_and_from_no_other(
    async_client: AsyncClient,
    runtime: Runtime,
    text_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    allowed = with_code(text_model, tmp_path / "allowed", kind)
    other = with_code(text_model, tmp_path / "other", kind)
    for name in ("allowed", "other"):
        await aregister(tmp_path / name, name)
    await Model.objects.filter(name="allowed").aupdate(trust_remote_code=True)
    await sync_to_async(library.scan)()
    refused = await async_client.post("/v1/models/other/load")
    assert (refused.status_code, "program code" in refused.json()["detail"]) == (500, True)
    assert not allowed.exists()  # looking at it runs nothing, allowed or not
    assert (await ask(async_client, "allowed"))["usage"]["completion_tokens"] > 0
    assert (allowed.exists(), other.exists()) == (True, False)


async def test_the_environment_allows_the_code_of_every_folder(
    async_client: AsyncClient,
    runtime: Runtime,
    text_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLX_TRUST_REMOTE_CODE", "true")
    await runtime.apply_settings()
    marker = with_code(text_model, tmp_path / "any", "model")
    await aregister(tmp_path / "any", "any")
    await ask(async_client, "any")
    assert marker.exists()
