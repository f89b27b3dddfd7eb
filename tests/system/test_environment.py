"""The environment's names for what a worker can be told, all the way into its process."""

import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async

from mlxgui.engine.pool import ModelPool
from mlxgui.engine.spec import LoadOptions
from mlxgui.runtime import limits_from
from mlxgui.system.models import Setting
from tests.conftest import KERNELS, fake
from tests.contract.test_documents_others import make_adapter
from tests.live import LiveServer

NAMES = {
    "PREFILL_STEP_SIZE": ("prefill_step_tokens", "512", 512),
    "MAX_KV_SIZE": ("max_kv_tokens", "4096", 4096),
    "KV_BITS": ("kv_bits", "8", 8),
    "KV_GROUP_SIZE": ("kv_group_size", "32", 32),
    "QUANTIZED_KV_START": ("kv_start_tokens", "77", 77),
    "MLX_TRUST_REMOTE_CODE": ("trust_remote_code", "true", True),
}
DEFAULTS = {"prefill_step_tokens": 2048, "max_kv_tokens": 0, "kv_bits": 0, "kv_group_size": 64,
            "kv_start_tokens": 5000, "trust_remote_code": False}  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ModelPool]:
    made = ModelPool(logs=tmp_path, scratch=KERNELS)
    yield made
    await made.close()


async def options_in_the_worker(pool: ModelPool) -> LoadOptions:
    """What a real child was started with under the settings and the environment of now."""
    pool.apply(limits_from(await sync_to_async(Setting.objects.as_dict)()))
    await pool.load(fake("echo"))
    told: dict[str, Any] = await pool.ask("echo", "load_options")
    return LoadOptions(**told)


@pytest.mark.django_db(transaction=True)
async def test_every_name_reaches_the_worker(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, (_, text, _) in NAMES.items():
        monkeypatch.setenv(name, text)
    got = await options_in_the_worker(pool)
    for field, _, value in NAMES.values():
        assert getattr(got, field) == value


@pytest.mark.django_db(transaction=True)
async def test_without_them_the_documented_defaults_hold(pool: ModelPool) -> None:
    got = await options_in_the_worker(pool)
    assert {field: getattr(got, field) for field in DEFAULTS} == DEFAULTS


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "text"),
    [("KV_BITS", "3"), ("KV_BITS", "four"), ("KV_GROUP_SIZE", "0"), ("MAX_KV_SIZE", "-1"),
     ("PREFILL_STEP_SIZE", "0"), ("QUANTIZED_KV_START", "1.5"), ("MLX_TRUST_REMOTE_CODE", "maybe")],
)  # fmt: skip
def test_nonsense_is_said_in_the_log_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    options = limits_from(Setting.objects.as_dict()).options
    field = NAMES[name][0]
    assert getattr(options, field) == DEFAULTS[field]
    assert name in caplog.text


@pytest.mark.model
def test_a_running_server_keeps_to_them(tmp_path: Path, text_model: Path) -> None:
    """The mlx-vlm server's names, old and new, as its users set them."""
    home, tuned = tmp_path / "home", make_adapter(tmp_path / "tuned", text_model)
    with_code = shutil.copytree(text_model, tmp_path / "with-code")
    (with_code / "modeling.py").write_text("raise RuntimeError('nobody asks for it')")
    environment = {"MLX_TRUST_REMOTE_CODE": "true", "MAX_KV_SIZE": "200", "KV_BITS": "8",
                   "PREFILL_STEP_SIZE": "64", "MLX_VLM_PRELOAD_MODEL": text_model.name,
                   "PRELOAD_ADAPTER": str(tuned)}  # fmt: skip
    with LiveServer(home, text_model, with_code, **environment) as server:
        named = f"{text_model.name}@tuned"
        wait_for(lambda: named in server.get("/v1/manager/status")["loaded_models"])
        (worker,) = server.workers()
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
        assert server.send("POST", "/v1/chat/completions", asked)[0] == 200
        assert [one.pid for one in server.workers()] == [worker.pid]  # it is what no name means
        asked |= {"model": "with-code"}
        assert server.send("POST", "/v1/chat/completions", asked)[0] == 200
        # One bound excludes the other; the model is loaded all the same, and says so.
        note = server.get("/v1/manager/models/with-code/status")["note"]
        assert note.startswith("KV_BITS=8 is left out") and "max_kv_size" in note
        status, body = server.send("POST", "/v1/chat/completions", asked | {"max_tokens": 500})
        assert (status, body["error"]["param"]) == (400, "max_tokens")
        assert "max_kv_size bounds the KV cache to 200" in body["error"]["message"]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
