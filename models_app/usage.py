"""Counting requests, off their path: many of a second become one write each."""

import asyncio
import logging
from collections import Counter

from asgiref.sync import sync_to_async

from models_app.models import Model

log = logging.getLogger("mlxgui.models")

WRITE_AFTER_SECONDS = 1.0

_counted: Counter[int] = Counter()
_writing: set[asyncio.Task[None]] = set()


def count_use(pk: int) -> None:
    """One more request for this model's row. Call it on the event loop."""
    if not _counted:
        task = asyncio.create_task(_write_soon())
        _writing.add(task)  # asyncio itself holds tasks only weakly
        task.add_done_callback(_writing.discard)
    _counted[pk] += 1


async def _write_soon() -> None:
    await asyncio.sleep(WRITE_AFTER_SECONDS)
    counts = dict(_counted)
    _counted.clear()
    try:
        await sync_to_async(write)(counts)
    except Exception:
        log.exception("uses were not counted")


def write(counts: dict[int, int]) -> None:
    for pk, count in counts.items():
        Model.objects.filter(pk=pk).record_uses(count)
