"""What all tests share: a pool on the fake backend, tiny real models, an API client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import GenerationRequest, Message
from tests import tiny
from tests.live import KERNELS

STARTER = Path(__file__).resolve().parent.parent / "models_app" / "starter"


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_text_model(tmp_path_factory.mktemp("models") / "tiny-text")


@pytest.fixture(scope="session")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-thinking"
    return tiny.make_text_model(folder, thinking=True, seed=1)


@pytest_asyncio.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ModelPool]:
    """A real pool with real child processes."""
    made = ModelPool(logs=tmp_path / "logs", scratch=KERNELS, limits=Limits(max_requests=32))
    yield made
    await made.close()


def fake(mode: str, **changes: object) -> ModelSpec:
    return ModelSpec(name=f"fake-{mode}", path=mode, kind="fake", **changes)  # type: ignore[arg-type]


def ask(text: str, **changes: object) -> GenerationRequest:
    return GenerationRequest(**{"messages": [Message("user", text)], **changes})  # type: ignore[arg-type]
