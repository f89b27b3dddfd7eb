"""The running server's pool, with real workers of the fake kind."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mlxgui.runtime import Runtime, get_runtime


@pytest_asyncio.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    monkeypatch.setattr("mlxgui.runtime._runtime", None)
    made = get_runtime()
    yield made
    await made.close()
