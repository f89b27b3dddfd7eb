"""The four shapes of an error, as types."""

from typing import Any, Literal, TypedDict

import msgspec

from mlxgui.openapi.operations import Shape


class OpenAIErrorObject(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(TypedDict):
    """OpenAI's error object, with MLX-GUI's `detail` beside it."""

    error: OpenAIErrorObject
    detail: str


class DetailError(TypedDict):
    """What MLX-GUI and Silicon Studio document."""

    detail: str


class AnthropicErrorObject(TypedDict):
    type: str
    message: str


class AnthropicError(TypedDict):
    type: Literal["error"]
    error: AnthropicErrorObject


class OllamaError(TypedDict):
    error: str


TYPES: dict[Shape, Any] = {
    "openai": OpenAIError,
    "detail": DetailError,
    "anthropic": AnthropicError,
    "ollama": OllamaError,
}

MEANINGS = {
    400: "A field is missing, wrong or not supported; the message names it.",
    401: "A valid key is needed.",
    403: "Refused: the request comes from another site's page, or is not for this key.",
    404: "There is no such thing.",
    409: "It cannot be done in the present state; the message says what stands in the way.",
    413: "The body is too large.",
    415: "The body is not of a content type that this route reads.",
    429: "The hub asks to wait.",
    500: "It failed; the message or the log says why.",
    502: "The hub gave an answer that cannot be used.",
    503: "The engine cannot take it now; Retry-After says when it can.",
    504: "It took longer than its time limit.",
    501: "No model here can do that.",
    507: "The model does not fit into memory.",
    529: "The engine cannot take it now; try again in a moment.",
}


def refusals(method: str, *, has_body: bool, more: tuple[int, ...], shape: Shape) -> list[int]:
    """Every status that a refusal of this operation may have, sorted."""
    found = {400, 401, *more}
    if method in ("POST", "PUT", "PATCH", "DELETE"):
        found |= {403, 413}
    if has_body:
        found.add(415)
    if shape == "anthropic" and 503 in found:  # Anthropic's clients know 529 for that
        found = found - {503} | {529}
    return sorted(found)


def shape_written(answer: tuple[int, bytes]) -> Shape:
    """Which of the shapes a dialect's error has, told from one that it wrote."""
    body: dict[str, Any] = msgspec.json.decode(answer[1])
    if isinstance(body.get("error"), str):
        return "ollama"
    if body.get("type") == "error":
        return "anthropic"
    return "openai" if "error" in body else "detail"
