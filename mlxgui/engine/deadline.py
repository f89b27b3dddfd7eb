"""A request's time limit: awaiting that ends with TimedOut when it is over."""

import asyncio
import time
from collections.abc import Awaitable

from mlxgui.engine.errors import TimedOut


def deadline_after(timeout_seconds: float) -> float | None:
    """On time.monotonic's clock; None = no limit."""
    return time.monotonic() + timeout_seconds if timeout_seconds > 0 else None


async def within[T](deadline: float | None, work: Awaitable[T]) -> T:
    """Await, but not beyond the request's deadline. Raises TimedOut."""
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout_at(_loop_time(deadline)):
            return await work
    except TimeoutError:
        raise TimedOut() from None


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + (deadline - time.monotonic())
