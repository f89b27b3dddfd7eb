"""What lives as long as the server: the pool of models. The only process-wide object."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings

from mlxgui.engine.memory import GIB, machine_memory
from mlxgui.engine.pool import Limits, ModelPool
from mlxgui.engine.spec import LoadOptions
from mlxgui.system.lifecycle import CannotEnd, Control
from mlxgui.system.models import Setting
from mlxgui.system.signals import setting_changed

log = logging.getLogger("mlxgui.runtime")

APPLY_SECONDS = 5.0


class Runtime:
    """Made on the server's event loop; `close` ends every child."""

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self.pool = ModelPool(logs=settings.HOME.logs, scratch=settings.HOME.scratch)
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread()
        self.control: Control | None = None
        """Of the server around it; None where something else than `serve` runs it."""
        self.is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Once, whoever asks first: read the settings, then what the apps want done at start."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        await self.apply_settings()
        for step in _steps:
            try:
                await step(self)
            except Exception:
                log.exception("a step at start failed: %s", step.__qualname__)

    async def apply_settings(self) -> None:
        """Read the settings rows; the pool follows at once."""
        self.pool.apply(limits_from(await sync_to_async(Setting.objects.as_dict)()))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that goes on for as long as the server does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self.is_closing = True
        for task in self._tasks:
            task.cancel()
        await self.pool.close()


def limits_from(rows: dict[str, object]) -> Limits:
    def number(key: str) -> int:
        return int(str(rows[key]))

    share, disk_gb = number("prompt_cache_memory_percent"), number("prompt_cache_disk_gb")
    usable = env_number("MLX_GUI_MEMORY_BYTES", 0) or machine_memory().usable_bytes
    return Limits(
        max_models=number("max_concurrent_models"),
        max_requests=number("max_concurrent_requests"),
        max_waiting=number("max_waiting_requests"),
        idle_seconds=60.0 * number("model_inactivity_timeout_minutes"),
        auto_unload=bool(rows["auto_unload_inactive_models"]),
        request_seconds=60.0 * number("request_timeout_minutes"),
        usable_bytes=usable * (100 - share) // 100,
        options=LoadOptions(
            use_gpu=bool(rows["enable_gpu_acceleration"]),
            raise_wired_limit=bool(rows["raise_wired_limit"]),
            prompt_cache_bytes=usable * share // 100 // number("max_concurrent_models"),
            prompt_cache_folder=str(settings.HOME.prompts) if disk_gb else "",
            prompt_cache_disk_bytes=disk_gb * GIB,
            **options_of_environment(),
        ),
    )


def options_of_environment() -> dict[str, Any]:
    """The mlx-vlm server's names for what a worker can be told. A model's own settings go first."""
    bits = env_number("KV_BITS", 0)
    if bits not in (0, 4, 8):
        log.warning("KV_BITS must be 0, 4 or 8, not %d", bits)
        bits = 0
    return {
        "prefill_step_tokens": env_number("PREFILL_STEP_SIZE", 2048, lowest=1),
        "max_kv_tokens": env_number("MAX_KV_SIZE", 0),
        "kv_bits": bits,
        "kv_group_size": env_number("KV_GROUP_SIZE", 64, lowest=1),
        "kv_start_tokens": env_number("QUANTIZED_KV_START", 5000),
        "trust_remote_code": env_flag("MLX_TRUST_REMOTE_CODE"),
    }


def env_flag(name: str) -> bool:
    """Off unless it is switched on in one of the usual words; another word is said in the log."""
    text = os.environ.get(name, "").strip().lower()
    if text not in ("", "0", "1", "false", "true", "no", "yes", "off", "on"):
        log.warning("%s must be true or false, not %r", name, text)
    return text in ("1", "true", "yes", "on")


def env_number(name: str, default: int, lowest: int = 0) -> int:
    """A whole number from the environment; what is none is said in the log and left out."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and int(text) >= lowest:
        return int(text)
    log.warning("%s must be a whole number of at least %d, not %r", name, lowest, text)
    return default


Step = Callable[[Runtime], Awaitable[None]]
_steps: list[Step] = []


def at_start(step: Step) -> Step:
    """Register what is to be done when the server starts; in the order of INSTALLED_APPS."""
    _steps.append(step)
    return step


def _follow_settings(**changed: object) -> None:
    """A setting was written, in a database thread: the running pool follows at once."""
    if _runtime is None or _runtime.loop.is_closed():
        return
    # Read here: the loop would need this very thread for it.
    limits = limits_from(Setting.objects.as_dict())
    applied = threading.Event()

    def apply(runtime: Runtime) -> None:
        runtime.pool.apply(limits)
        applied.set()

    _runtime.loop.call_soon_threadsafe(apply, _runtime)
    if threading.current_thread() is not _runtime.thread:
        applied.wait(APPLY_SECONDS)  # who wrote it may rely on it from now on


setting_changed.connect(_follow_settings, dispatch_uid="runtime")

_runtime: Runtime | None = None


def get_runtime() -> Runtime:
    """The running server's. Made at the first call, which must come from its event loop."""
    global _runtime
    if _runtime is None:
        _runtime = Runtime()
    return _runtime


def memory_for_models() -> int:
    """Bytes that loaded models may take together: what pages show is what the pool goes by."""
    limits = _runtime.pool.limits if _runtime is not None else None
    return (limits.usable_bytes if limits else 0) or machine_memory().usable_bytes


def running_runtime() -> Runtime | None:
    """None where no server runs in this process, as in a management command."""
    return _runtime


def running_control() -> Control:
    """Of the server that `serve` runs in this process. Raises CannotEnd where there is none."""
    if _runtime is None or _runtime.control is None:
        raise CannotEnd("This server was not started by `manage.py serve`: end it where it runs.")
    return _runtime.control
