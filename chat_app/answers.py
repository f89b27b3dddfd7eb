"""The answers of OpenAI's and Anthropic's chat routes, as types.

Source: their API references; keys that begin with `x_` are ours. A client must bear further keys.
"""

from typing import Any, Literal, NotRequired, TypedDict


class CachedTokens(TypedDict):
    cached_tokens: int


class ReasoningTokens(TypedDict):
    reasoning_tokens: int


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class Function(TypedDict):
    name: str
    arguments: str


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: Function


class ChatMessage(TypedDict):
    """`reasoning` says the same as `reasoning_content`; clients know one or the other."""

    role: Literal["assistant"]
    content: str | None
    reasoning_content: NotRequired[str]
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]


Reason = Literal["stop", "length", "tool_calls", "content_filter"]


class ChatChoice(TypedDict):
    index: int
    message: ChatMessage
    logprobs: dict[str, Any] | None
    finish_reason: Reason


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    x_cache: Any


class TextChoice(TypedDict):
    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Reason


class TextCompletion(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


# -- responses ------------------------------------------------------------------------------------


class Response(TypedDict):
    """OpenAI's Response object; `output` holds messages, reasoning and tool calls."""

    id: str
    object: Literal["response"]
    created_at: float
    status: Literal["completed", "incomplete", "failed", "in_progress", "cancelled"]
    model: str
    output: list[dict[str, Any]]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    previous_response_id: str | None
    usage: dict[str, Any] | None


class ResponseDeleted(TypedDict):
    id: str
    object: str
    deleted: bool


class InputItems(TypedDict):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(TypedDict):
    object: Literal["response.input_tokens"]
    input_tokens: int


# -- tokens ---------------------------------------------------------------------------------------


class Tokens(TypedDict):
    model: str
    count: int
    tokens: list[int]
    pieces: list[str]


class TokensText(TypedDict):
    """`prompt` says the same as `text`, for vLLM's clients."""

    model: str
    text: str
    prompt: str


# -- Anthropic ------------------------------------------------------------------------------------


class AnthropicUsage(TypedDict):
    input_tokens: int
    output_tokens: int


class AnthropicMessage(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"] | None
    stop_sequence: str | None
    usage: AnthropicUsage


class TokenCount(TypedDict):
    input_tokens: int
