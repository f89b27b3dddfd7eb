"""How loads ended, written to the rows: a folder that failed says why over a restart."""

import asyncio
import logging

from asgiref.sync import sync_to_async

from mlxgui.engine.errors import DamagedWeights, EngineError, LoadFailed
from mlxgui.engine.spec import ModelSpec
from models_app.models import Model

log = logging.getLogger("mlxgui.models")

_writing: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks only weakly


def note(spec: ModelSpec, error: EngineError | None) -> None:
    """The pool calls this on its event loop. What only lack of memory or time stopped is no fact
    about the folder."""
    if error is not None and not isinstance(error, LoadFailed):
        return
    task = asyncio.create_task(_write(spec, error))
    _writing.add(task)
    task.add_done_callback(_writing.discard)


async def _write(spec: ModelSpec, error: LoadFailed | None) -> None:
    try:
        await sync_to_async(write)(spec, error)
    except Exception:
        log.exception("how %s loaded was not written down", spec.name)


def write(spec: ModelSpec, error: LoadFailed | None) -> None:
    """Weights that cannot be right are not tried again until the folder changes; anything else
    is, since an adapter or a setting may have been the cause."""
    row = Model.objects.filter(path=spec.path).first()
    if row is None or (error and spec.options.kv_bits != row.load_options.kv_bits):
        return  # one caller's own wish failed, not what the row asks for
    message = error.message if error else ""
    if isinstance(error, DamagedWeights) and not spec.adapter_path and not row.error_message:
        row.error_message = message
        row.save(update_fields=["error_message", "updated_at"])
    elif row.load_error != message:
        row.load_error = message
        row.save(update_fields=["load_error", "updated_at"])
