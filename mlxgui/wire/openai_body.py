"""The body of /v1/chat/completions as Structs: every field that is known, with type and range.

Source: OpenAI's API reference (chat), mlx-lm's SERVER.md, the mlx-vlm server's document.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mlxgui.wire.parts import PartIn

MAX_MESSAGES = 4096
MAX_CHOICES = 8
MAX_ALTERNATIVES = 20

Side = Annotated[int, Meta(ge=1, le=8192)]
ImageSize = Annotated[list[Side], Meta(min_length=1, max_length=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
LARGEST = 2**31 - 1
"""Of any number of tokens, and of whatever else is counted."""
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class FunctionIn(Struct):
    name: str
    arguments: str = "{}"


class ToolCallIn(Struct):
    function: FunctionIn
    id: str = ""
    type: Literal["function"] = "function"


class MessageIn(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[PartIn] | None = None
    name: str | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class FunctionSpec(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolIn(Struct):
    function: FunctionSpec
    type: Literal["function"] = "function"


class StreamOptions(Struct):
    include_usage: bool = False


class JsonSchemaIn(Struct):
    schema: dict[str, Any] = {}
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """OpenAI's three types; “regex” and “grammar” (Lark or EBNF) are extensions."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar"]
    json_schema: JsonSchemaIn | None = None
    regex: str | None = None
    grammar: str | None = None


class NamedFunction(Struct):
    name: str


class NamedTool(Struct):
    function: NamedFunction
    type: Literal["function"] = "function"


class SamplingIn(Struct, kw_only=True):
    """How tokens are drawn, in chat and in plain text alike."""

    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Share | None = None
    top_k: Count | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    repetition_context_size: Positive | None = None
    presence_penalty: Penalty | None = None
    presence_context_size: Positive | None = None
    frequency_penalty: Penalty | None = None
    frequency_context_size: Positive | None = None
    logit_bias: dict[str, float] | None = None
    xtc_probability: Share | None = None
    xtc_threshold: Annotated[float, Meta(ge=0, le=0.5)] | None = None
    seed: Seed | None = None


class Body(SamplingIn, kw_only=True):
    """Every field that is known; a known field that cannot be honoured is refused in `_refuse`."""

    messages: Annotated[list[MessageIn], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: Annotated[str, Meta(min_length=1)] = "default_model"
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | list[str] | None = None
    tools: list[ToolIn] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: bool | Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None
    min_tokens: Count | None = None
    ignore_eos: bool | None = None
    typical_p: Share | None = None
    role_mapping: dict[str, str] | None = None
    resize_shape: ImageSize | None = None
    thinking_budget: Positive | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    draft_model: str | None = None
    num_draft_tokens: Positive | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    keep_alive: float | str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None
    adapters: str | None = None
    adapter_path: str | None = None
    # Labels of the caller's own; they change nothing in the answer.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
