"""The body of /v1/messages as Structs: every field that is known, with type and range.

Source: Anthropic's API reference (messages). Fields that only steer its own data centres, such as
`cache_control`, may come and change nothing: prompts are always cached here.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mlxgui.wire.openai_body import MAX_MESSAGES, Count, Positive, Share
from mlxgui.wire.parts import SourceIn


class TextIn(Struct, tag="text"):
    text: str


class ImageIn(Struct, tag="image"):
    source: SourceIn


class DocumentSource(Struct):
    type: Literal["base64", "text", "content", "url", "file"]
    data: str = ""
    content: str | list[TextIn | ImageIn] = ""


class DocumentIn(Struct, tag="document"):
    source: DocumentSource
    title: str | None = None
    context: str | None = None


class SearchResultIn(Struct, tag="search_result"):
    content: list[TextIn]
    title: str = ""
    source: str = ""


class ThinkingIn(Struct, tag="thinking"):
    thinking: str


class RedactedIn(Struct, tag="redacted_thinking"):
    """Another server's secret: nothing in it that a model here could read."""


class ToolUseIn(Struct, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


Seen = TextIn | ImageIn | DocumentIn | SearchResultIn


class ToolResultIn(Struct, tag="tool_result"):
    tool_use_id: str
    content: str | list[Seen] | None = None
    is_error: bool | None = None


Block = Seen | ThinkingIn | RedactedIn | ToolUseIn | ToolResultIn


class MessageIn(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolIn(Struct):
    """`type` is set for tools that Anthropic itself runs or describes."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None


class ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class ThinkingConfig(Struct):
    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: Positive | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(Struct):
    user_id: str | None = None


class CountBody(Struct, kw_only=True):
    """What /v1/messages/count_tokens takes: all that becomes part of the prompt."""

    messages: Annotated[list[MessageIn], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: Annotated[str, Meta(min_length=1)]
    system: str | list[TextIn] | None = None
    tools: list[ToolIn] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    cache_control: Any = None


class Body(CountBody, kw_only=True):
    max_tokens: Positive
    stream: bool | None = False
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Count | None = None
    top_p: Share | None = None
    # Labels of the caller's own, and wishes about Anthropic's data centres.
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None
    inference_geo: str | None = None
    keep_alive: int | float | str | None = None
