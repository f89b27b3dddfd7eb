"""What the server does with models when it starts: look what is there, load what is wanted."""

import asyncio
import logging
from pathlib import Path

from asgiref.sync import sync_to_async

from mlxgui.engine.errors import EngineError, ModelNotFound
from mlxgui.engine.spec import ModelSpec
from mlxgui.jobs.runner import start_runner
from mlxgui.runtime import Runtime, at_start
from models_app import loads
from models_app.adapters import spec_for
from models_app.library import ascan, register
from models_app.models import Model
from models_app.unnamed import PRELOAD_ADAPTER, PRELOAD_MODEL, first_set

log = logging.getLogger("mlxgui.models")

_loads: set[asyncio.Task[None]] = set()


@at_start
async def find_models(runtime: Runtime) -> None:
    await ascan()


@at_start
async def write_down_loads(runtime: Runtime) -> None:
    runtime.pool.on_load = loads.note


@at_start
async def run_jobs(runtime: Runtime) -> None:
    """Pick up what runs, and start what waits. Jobs go on when this server ends."""
    start_runner()


@at_start
async def load_at_start(runtime: Runtime) -> None:
    """The named model and those marked so, one after the other; nobody waits for them."""
    specs = await sync_to_async(specs_to_load)(first_set(PRELOAD_MODEL), first_set(PRELOAD_ADAPTER))
    if specs:
        task = asyncio.create_task(_load_all(runtime, specs))
        _loads.add(task)
        task.add_done_callback(_loads.discard)


def specs_to_load(named: str, adapter: str) -> list[ModelSpec]:
    marked = Model.objects.ready().filter(autoload=True)
    specs = [model.spec() for model in marked]
    if named:
        try:
            base = named_or_registered(named)
            spec = spec_for(base.name, register_adapter(adapter))[1]
        except EngineError as error:
            log.error("The model to load at start: %s", error.message)
        else:
            specs = [spec, *(other for other in specs if other.key != spec.key)]
    return specs


def named_or_registered(name: str) -> Model:
    """A folder that is not listed yet is registered."""
    try:
        return Model.objects.resolve(name)
    except ModelNotFound:
        if not Path(name).is_absolute() or not Path(name).is_dir():
            raise
        return register(Path(name))


def register_adapter(path: str) -> str:
    """The folder of an adapter that was named at start; whoever starts the server may name any."""
    if path and Path(path).is_dir():
        return register(Path(path)).path
    return path


async def _load_all(runtime: Runtime, specs: list[ModelSpec]) -> None:
    for spec in specs:
        try:
            # Somebody wished for it beforehand: a warning would reach nobody now.
            await runtime.pool.load(spec, force=True)
        except EngineError as error:
            log.error("%s was not loaded at start: %s", spec.name, error.message)
