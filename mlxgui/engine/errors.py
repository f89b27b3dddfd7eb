"""One class per thing that goes wrong. The docstring is the default message; no HTTP codes here."""

from typing import Any, ClassVar


class EngineError(Exception):
    """Something went wrong in the engine."""

    code: ClassVar[str] = "engine_error"

    def __init__(self, message: str = "", **details: Any) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.details = details
        super().__init__(self.message)


class BadRequest(EngineError):
    """The request cannot be served as it stands."""

    code = "invalid_request"

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.param = param


class ContextOverflow(BadRequest):
    """The prompt and the answer do not fit into the model's context."""

    code = "context_length_exceeded"


class Unsupported(BadRequest):
    """This model cannot do what was asked."""

    code = "unsupported_parameter"


class NotFound(EngineError):
    """There is nothing of that name."""

    code = "not_found"


class ModelNotFound(EngineError):
    """There is no such model."""

    code = "model_not_found"


class QueueFull(EngineError):
    """Too many requests are waiting. Try again in a moment."""

    code = "queue_full"


class NotEnoughMemory(EngineError):
    """The model does not fit into memory."""

    code = "insufficient_memory"


class LoadFailed(EngineError):
    """The model could not be loaded."""

    code = "load_failed"


class DamagedWeights(LoadFailed):
    """The weights cannot be right. Loading them again will not help: download them again."""

    code = "damaged_weights"


class WorkerDied(EngineError):
    """The model's process ended unexpectedly. The next request starts a new one."""

    code = "worker_died"


class TimedOut(EngineError):
    """The request took longer than its time limit."""

    code = "timeout"


class ShuttingDown(EngineError):
    """The server is shutting down."""

    code = "shutting_down"


class ModelUnloaded(EngineError):
    """The model was unloaded while it was answering."""

    code = "model_unloaded"


def _tree(base: type[EngineError]) -> dict[str, type[EngineError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[EngineError]] = _tree(EngineError)


def from_code(code: str, message: str, param: str | None = None) -> EngineError:
    """The exception that a worker's `Failed` frame stands for."""
    kind = BY_CODE.get(code, EngineError)
    return kind(message, param=param) if issubclass(kind, BadRequest) else kind(message)


def one_line(error: Exception) -> str:
    """What an error of a library says, short enough for a person."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
