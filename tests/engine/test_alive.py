"""Silence is said, time limits and options reach the worker."""

import asyncio

import pytest

from mlxgui.engine import pool as pool_module
from mlxgui.engine.errors import TimedOut
from mlxgui.engine.options import with_options
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import LoadOptions
from mlxgui.engine.types import Alive
from tests.conftest import ask, fake


async def test_a_stream_without_news_says_that_it_lives(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "ALIVE_SECONDS", 0.2)
    stream = pool.generate(fake("deaf"), ask("hello"))
    async with asyncio.timeout(5):
        assert isinstance(await anext(stream), Alive)
        assert isinstance(await anext(stream), Alive)
    await stream.aclose()


async def test_requests_without_a_limit_of_their_own_have_the_pools(pool: ModelPool) -> None:
    pool.apply(Limits(request_seconds=0.5))
    with pytest.raises(TimedOut):
        async with asyncio.timeout(5):
            async for _ in pool.generate(fake("deaf"), ask("hello")):
                pass


def test_a_models_own_options_come_before_the_pools() -> None:
    own = fake("echo", options=LoadOptions(prefill_step_tokens=64))
    got = with_options(own, LoadOptions(prefill_step_tokens=512, max_kv_tokens=99, use_gpu=False))
    assert got.options == LoadOptions(prefill_step_tokens=64, max_kv_tokens=99, use_gpu=False)
    assert with_options(fake("echo"), LoadOptions()).options == LoadOptions()
