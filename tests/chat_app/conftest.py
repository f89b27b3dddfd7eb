from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chat_app import replies
from mlxgui import runtime as runtime_module
from mlxgui.home import Home
from mlxgui.runtime import Runtime, get_runtime


@pytest_asyncio.fixture
async def runtime(
    tmp_path_factory: pytest.TempPathFactory, settings: object, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """A running server's runtime on this test's loop: a real pool with real children."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    settings.HOME = home  # type: ignore[attr-defined]
    monkeypatch.setattr(runtime_module, "_runtime", None)
    monkeypatch.setattr(replies, "_live", {})
    made = get_runtime()
    yield made
    await made.close()
