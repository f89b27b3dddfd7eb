"""The answers of Ollama's routes, as types. Durations in nanoseconds.

Source: Ollama's API reference (docs/api.md).
"""

from typing import Any, NotRequired, TypedDict


class Measured(TypedDict):
    """What the last line says beside its text."""

    model: str
    created_at: str
    done: bool
    done_reason: NotRequired[str]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    prompt_eval_duration: NotRequired[int]
    eval_count: NotRequired[int]
    eval_duration: NotRequired[int]
    logprobs: NotRequired[list[dict[str, Any]]]


class Message(TypedDict):
    role: str
    content: str
    thinking: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]


class Chat(Measured):
    message: Message


class Generated(Measured):
    response: str
    thinking: NotRequired[str]


class Vectors(TypedDict):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class Vector(TypedDict):
    embedding: list[float]


class Details(TypedDict):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tag(TypedDict):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(TypedDict):
    models: list[Tag]


class Running(TypedDict):
    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class Processes(TypedDict):
    models: list[Running]


class Shown(TypedDict):
    license: str
    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Version(TypedDict):
    """`server` is what really answers; `version` is the version of Ollama's API that it follows."""

    version: str
    server: str


class Pulled(TypedDict):
    """One line of a download, or its end."""

    status: NotRequired[str]
    digest: NotRequired[str]
    total: NotRequired[int]
    completed: NotRequired[int]
    error: NotRequired[str]
