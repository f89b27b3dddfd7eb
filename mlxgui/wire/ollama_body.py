"""The bodies of Ollama's /api/chat and /api/generate as Structs.

Source: Ollama's API reference (docs/api.md) and its list of model options.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mlxgui.wire.openai_body import MAX_ALTERNATIVES, MAX_MESSAGES, Count, Penalty, Share

Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Think = bool | Literal["low", "medium", "high", "max"]


class Options(Struct, kw_only=True):
    """Sampling, and what a machine of Ollama's kind is told; the latter changes nothing here."""

    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_k: int | None = None
    top_p: Share | None = None
    min_p: Share | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    repeat_last_n: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    num_predict: int | None = None
    num_ctx: int | None = None
    typical_p: float | None = None
    tfs_z: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    # Of Ollama's own engine.
    num_keep: int | None = None
    penalize_newline: bool | None = None
    numa: bool | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    low_vram: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    embedding_only: bool | None = None
    num_thread: int | None = None


class FunctionIn(Struct):
    name: str
    arguments: dict[str, Any] = {}
    index: int | None = None


class ToolCallIn(Struct):
    function: FunctionIn
    id: str = ""


class MessageIn(Struct, kw_only=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class FunctionSpec(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolIn(Struct):
    function: FunctionSpec
    type: str | None = "function"


class Asked(Struct, kw_only=True):
    """What both routes take. `format` is "json", a JSON Schema, or empty."""

    model: Name
    stream: bool | None = True
    options: Options | None = None
    format: str | dict[str, Any] | None = None
    keep_alive: float | str | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None


class ChatBody(Asked, kw_only=True):
    """Without messages the model is only loaded, or unloaded where `keep_alive` is 0."""

    messages: Annotated[list[MessageIn], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: list[ToolIn] | None = None


class GenerateBody(Asked, kw_only=True):
    """Without a prompt the model is only loaded, or unloaded where `keep_alive` is 0."""

    prompt: str | None = ""
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    images: list[str] | None = None
    context: list[int] | None = None
    width: Count | None = None
    height: Count | None = None
    steps: Count | None = None
