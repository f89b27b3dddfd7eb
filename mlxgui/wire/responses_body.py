"""The body of /v1/responses as Structs: every field that is known, with type and range.

Source: OpenAI's API reference (responses), the mlx-vlm server's document.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mlxgui.wire.openai_body import (
    MAX_ALTERNATIVES,
    MAX_MESSAGES,
    Count,
    ImageSize,
    Penalty,
    Positive,
    Seed,
    Share,
    ToolCallIn,
)
from mlxgui.wire.parts import PartIn

Id = Annotated[str, Meta(max_length=200)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Includable = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    # Of tools that do not exist here: there is never anything to include.
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]


class ItemIn(Struct, kw_only=True, omit_defaults=True):
    """Any item of `input`: a message (with or without its type), a tool's call or output, a
    thought, or a reference to an item that is stored here."""

    type: Literal[
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
        "item_reference",
    ] = "message"
    id: Id | None = None
    status: str | None = None
    role: Literal["user", "assistant", "system", "developer", "tool"] | None = None
    content: str | list[PartIn] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    """Where the called tool is one of a namespace's."""
    arguments: str | None = None
    input: str | None = None
    """Of a custom tool's call."""
    output: str | list[PartIn] | None = None
    summary: list[PartIn] | None = None
    encrypted_content: str | None = None
    # Of messages as chat has them, which the mlx-vlm server takes here too.
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: Id | None = None


class ToolFormat(Struct, kw_only=True, omit_defaults=True):
    """Of a custom tool's input."""

    type: Literal["text", "grammar"]
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class OneToolIn(Struct, kw_only=True, omit_defaults=True):
    type: str
    name: Annotated[str, Meta(max_length=256)] = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: ToolFormat | None = None


class ToolIn(OneToolIn, kw_only=True, omit_defaults=True):
    """A tool, or a namespace of several."""

    tools: list[OneToolIn] | None = None


class NamedTool(Struct, kw_only=True, omit_defaults=True):
    """One tool by name, or the few of `tools` that may be called."""

    type: Literal["function", "custom", "allowed_tools"]
    name: str = ""
    mode: Literal["auto", "required"] = "auto"
    tools: list[dict[str, Any]] = []


class TextFormat(Struct, kw_only=True, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, kw_only=True, omit_defaults=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Struct, kw_only=True):
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class CountBody(Struct, kw_only=True):
    """What /v1/responses/input_tokens takes: all that becomes part of the prompt."""

    model: Annotated[str, Meta(min_length=1)] = "default_model"
    input: str | Annotated[list[ItemIn], Meta(min_length=1, max_length=MAX_MESSAGES)] | None = None
    instructions: str | None = None
    previous_response_id: Id | None = None
    tools: list[ToolIn] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None
    resize_shape: ImageSize | None = None
    adapter_path: str | None = None


class Body(CountBody, kw_only=True):
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
    include: list[Includable] | None = None
    max_output_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Share | None = None
    top_k: Count | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    thinking_budget: Positive | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    keep_alive: int | float | str | None = None
    # Known, and refused by name where they are set.
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
    # Labels of the caller's own, and bounds of tools that do not exist here.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Any = None
    service_tier: str | None = None
    max_tool_calls: Positive | None = None
