"""Which options of a request a loaded model honours."""

import asyncio
from typing import Any

from mlxgui.engine.errors import EngineError
from mlxgui.engine.pool import ModelPool

ASK_SECONDS = 2.0
"""A worker in the middle of a long prefill answers late; what it said when it was loaded is shown
then, which knows no more than that it did not try a grammar."""


async def honoured(pool: ModelPool, key: str) -> dict[str, Any] | None:
    """For each option True, or why it is refused; None where the model is not loaded."""
    resident = next((one for one in pool.residents() if one.key == key), None)
    known: dict[str, Any] | None = resident.facts.get("options") if resident else None
    if known is None:
        return None
    try:
        async with asyncio.timeout(ASK_SECONDS):
            asked: dict[str, Any] = await pool.ask(key, "options")
    except (EngineError, TimeoutError):
        return known
    return asked
