"""Loads that a page started: the answer leaves at once, the load goes on."""

import asyncio
import contextlib

from mlxgui.engine.errors import EngineError
from mlxgui.engine.pool import ModelPool
from mlxgui.engine.preview import Preview
from mlxgui.engine.spec import ModelSpec

PATIENCE_SECONDS = 0.4
"""Small models are ready within this time, and the page then says so at once."""
PAGE_PRIORITY = 10

_started: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks only weakly


def is_simple(preview: Preview) -> bool:
    """It fits, and nothing has to leave for it: nobody need be asked."""
    return preview.fits == "yes" and not preview.evict


async def begin_load(pool: ModelPool, spec: ModelSpec, *, force: bool = False) -> None:
    """Returns soon, loaded or not. What goes wrong is in `pool.failures`."""
    task = asyncio.create_task(_load(pool, spec, force))
    _started.add(task)
    task.add_done_callback(_started.discard)
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)


async def _load(pool: ModelPool, spec: ModelSpec, force: bool) -> None:
    with contextlib.suppress(EngineError):
        await pool.load(spec, PAGE_PRIORITY, force)
