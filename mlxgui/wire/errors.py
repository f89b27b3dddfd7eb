"""One table: what went wrong → HTTP status and OpenAI's error type. Used by every dialect."""

import msgspec

from mlxgui.engine import errors

# (HTTP status, OpenAI's `type`)
_TABLE: dict[type[Exception], tuple[int, str]] = {
    errors.BadRequest: (400, "invalid_request_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.ModelNotFound: (404, "invalid_request_error"),
    errors.QueueFull: (503, "server_error"),
    errors.ShuttingDown: (503, "server_error"),
    errors.NotEnoughMemory: (507, "server_error"),
    errors.LoadFailed: (503, "server_error"),
    errors.WorkerDied: (503, "server_error"),
    errors.ModelUnloaded: (503, "server_error"),
    errors.TimedOut: (504, "server_error"),
}
_REFUSED_TYPES = {401: "authentication_error", 403: "permission_error"}
RETRY_AFTER_SECONDS = 2
INTERNAL = "Something went wrong in the server. Its log says more."


class Refused(errors.EngineError):
    """Refused at the door, before any model was asked."""

    def __init__(self, status: int, why: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.why, self.headers = status, why, headers


def status_and_type(error: Exception) -> tuple[int, str]:
    if isinstance(error, Refused):
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        return error.status, _REFUSED_TYPES.get(error.status, kind)
    for base in type(error).__mro__:
        if base in _TABLE:
            return _TABLE[base]
    return 500, "server_error"


def retry_after(error: Exception) -> int | None:
    """Seconds after which it is worth another try; None where it is not."""
    passing = (errors.QueueFull, errors.ShuttingDown, errors.WorkerDied, errors.ModelUnloaded)
    return RETRY_AFTER_SECONDS if isinstance(error, passing) else None


def openai_error(error: Exception) -> dict[str, object]:
    """OpenAI's error object, with MLX-GUI's `detail` beside it: both documents are satisfied."""
    message = error.message if isinstance(error, errors.EngineError) else INTERNAL
    param = error.param if isinstance(error, errors.BadRequest) else None
    if isinstance(error, errors.ModelNotFound):
        param = "model"
    return {
        "error": {
            "message": message,
            "type": status_and_type(error)[1],
            "param": param,
            "code": code_of(error),
        },
        "detail": message,
    }


def code_of(error: Exception) -> str | None:
    if isinstance(error, Refused):
        return error.why
    return error.code if isinstance(error, errors.EngineError) else None


def openai_response(error: Exception) -> tuple[int, bytes]:
    return status_and_type(error)[0], msgspec.json.encode(openai_error(error))
