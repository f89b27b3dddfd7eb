"""What the environment says is to be loaded at start is loaded, by any of its names."""

import asyncio
from pathlib import Path

import pytest

from mlxgui.engine.pool import ModelPool
from models_app import startup
from models_app.models import Model
from tests.conftest import KERNELS
from tests.factories import make_model

pytestmark = pytest.mark.django_db(transaction=True)


class Server:
    """As much of the runtime as loading at start needs: its pool."""

    def __init__(self, folder: Path) -> None:
        self.pool = ModelPool(logs=folder / "logs", scratch=KERNELS)


@pytest.fixture
def base(tmp_path: Path) -> Model:
    (tmp_path / "adapters.safetensors").write_bytes(b"\0" * 64)
    make_model(name="tuned", path=str(tmp_path), adapter_path=str(tmp_path), is_finetuned=True,
               base_model="base", error_message="This is an adapter.")  # fmt: skip
    make_model(name="marked", path="slow", kind="fake", autoload=True)
    return make_model(name="base", path="echo", kind="fake")


@pytest.mark.parametrize("prefix", ["MLX_GUI_", "MLX_VLM_", ""])
@pytest.mark.usefixtures("base")
def test_the_named_model_with_its_adapter_is_loaded_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    for name in (*startup.PRELOAD_MODEL, *startup.PRELOAD_ADAPTER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{prefix}PRELOAD_MODEL", "base")
    monkeypatch.setenv(f"{prefix}PRELOAD_ADAPTER", "tuned")
    specs = startup.specs_to_load(
        startup.first_set(startup.PRELOAD_MODEL), startup.first_set(startup.PRELOAD_ADAPTER)
    )

    async def loaded() -> list[tuple[str, str, str]]:
        server = Server(tmp_path)
        await startup._load_all(server, specs)  # type: ignore[arg-type]
        residents = server.pool.residents()
        await server.pool.close()
        return [(one.name, one.adapter_path, one.state) for one in residents]

    assert asyncio.run(loaded()) == [
        ("base@tuned", str(tmp_path), "ready"),
        ("marked", "", "ready"),
    ]
