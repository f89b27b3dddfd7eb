"""What all tests share: a pool on the fake backend, tiny real models, an API client."""

import gc
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.contenttypes.models import ContentType
from django.db.models.signals import post_migrate

from mlxgui.engine import pool as pool_module
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import GenerationRequest, Message
from tests import tiny
from tests.live import KERNELS

MARKED = re.compile(r"^pytestmark = (.*?)^\n", re.MULTILINE | re.DOTALL)
STARTER = Path(__file__).resolve().parent.parent / "models_app" / "starter"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m "not model"`, a file whose tests all load one: importing it takes the longest."""
    wanted = config.option.markexpr
    if not wanted or " or " in wanted or collection_path.suffix != ".py":
        return None
    marked = MARKED.search(collection_path.read_text())
    unwanted = re.findall(r"not (\w+)", wanted)
    return True if marked and any(f"mark.{one}" in marked[1] for one in unwanted) else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays to the end: looking for garbage in it would take a
    quarter of a second each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Django fills two tables of its own again whenever the database was emptied, after most
    tests: they take 40 ms, and nothing here asks for permissions."""
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.connect(forget_contenttypes)


def forget_contenttypes(**_: object) -> None:
    ContentType.objects.clear_cache()


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_text_model(tmp_path_factory.mktemp("models") / "tiny-text")


@pytest.fixture(scope="session")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-thinking"
    return tiny.make_text_model(folder, thinking=True, seed=1)


@pytest_asyncio.fixture
async def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelPool]:
    """A real pool with real child processes; it looks after them more often, so nobody waits."""
    monkeypatch.setattr(pool_module, "SWEEP_SECONDS", 0.1)
    made = ModelPool(logs=tmp_path / "logs", scratch=KERNELS, limits=Limits(max_requests=32))
    yield made
    await made.close()


def fake(mode: str, **changes: object) -> ModelSpec:
    return ModelSpec(name=f"fake-{mode}", path=mode, kind="fake", **changes)  # type: ignore[arg-type]


def ask(text: str, **changes: object) -> GenerationRequest:
    return GenerationRequest(**{"messages": [Message("user", text)], **changes})  # type: ignore[arg-type]
