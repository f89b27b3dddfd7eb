"""What a backend is, and which module serves which kind. Runs in the worker only.

The worker calls `prepare` on its reader thread and everything else on its one mlx thread. Only
this package and `engine/jobs` may import mlx.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from mlxgui.engine.backends.quick_import import import_quickly
from mlxgui.engine.errors import EngineError
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Event, Request

Output = tuple[int, Event | EngineError]

MODULES = {
    "text": "mlxgui.engine.backends.text",
    "vision": "mlxgui.engine.backends.vision",
    "embedding": "mlxgui.engine.backends.embedding",
    "rerank": "mlxgui.engine.backends.rerank",
    "stt": "mlxgui.engine.backends.hearing",
    "tts": "mlxgui.engine.backends.speech",
    "image": "mlxgui.engine.backends.image",
    "fake": "mlxgui.engine.backends.fake",
}


class Backend(Protocol):
    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        """Read the model; report how far, 0 to 1; return facts about it. Raises EngineError."""

    def prepare(self, request: Request) -> Any:
        """Check the request and turn it into what `add` takes. No mlx here. Raises EngineError."""

    def add(self, id: int, prepared: Any) -> None:
        """Take the request into the batch."""

    def step(self) -> list[Output]:
        """Go on by one step for all requests; an EngineError ends its request."""

    def cancel(self, id: int) -> None:
        """Forget the request, whether it runs, waits or is unknown."""

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Answer a question. Raises EngineError for one it does not know."""

    def idle(self) -> bool:
        """Called while nothing runs, for work that can wait; True = call again soon."""

    def close(self, seconds: float) -> None:
        """The process is about to end; finish what must be finished within so long."""

    @property
    def is_busy(self) -> bool:
        """Whether `step` has work to do."""


def make_backend(kind: str) -> Backend:
    if kind not in MODULES:
        raise EngineError(f"Models of the kind “{kind}” cannot be served yet.")
    if kind != "fake":
        import_quickly()
    backend: Backend = importlib.import_module(MODULES[kind]).make()
    return backend
