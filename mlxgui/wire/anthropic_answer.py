"""The answers of /v1/messages: one document, or the events of a stream in Anthropic's order."""

import uuid
from typing import Any

import msgspec
from msgspec import Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import (
    Alive,
    Done,
    Event,
    Finished,
    FinishReason,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from mlxgui.wire import Parsed
from mlxgui.wire.errors import openai_error, status_and_type
from mlxgui.wire.reply import Reply
from mlxgui.wire.sse import named

_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529
"""Anthropic's status where others say 503: its client waits and tries again."""


class Options(Struct):
    """What the answer depends on beside the events."""

    omit_thinking: bool = False
    """Thinking goes on, but its text is not shown."""


def usage_object(usage: Usage) -> dict[str, Any]:
    """Anthropic counts what came from the cache apart from the rest of the prompt."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _message(parsed: Parsed, content: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": parsed.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_object(usage),
    }


def _ending(reason: FinishReason, stop_text: str) -> dict[str, Any]:
    by_text = reason == "stop" and stop_text
    return {
        "stop_reason": "stop_sequence" if by_text else _STOP_REASONS[reason],
        "stop_sequence": stop_text if by_text else None,
    }


def _input(arguments: str) -> Any:
    """A call's arguments as an object; what is none stays text, so that nothing is lost."""
    try:
        found = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return {"text": arguments}
    return found if isinstance(found, dict) else {"value": found}


def complete(parsed: Parsed, reply: Reply) -> bytes:
    choice = reply.choice(0)
    content: list[dict[str, Any]] = []
    if choice.thinking:
        shown = "" if parsed.options.omit_thinking else choice.thinking
        content.append({"type": "thinking", "thinking": shown, "signature": ""})
    if choice.text:
        content.append({"type": "text", "text": choice.text, "citations": None})
    for call in choice.tool_calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name}
        content.append({**block, "input": _input(call.arguments)})
    message = _message(parsed, content, reply.usage)
    return msgspec.json.encode(message | _ending(choice.finish_reason, choice.stop_text))


class StreamEncoder:
    """message_start, ping, then each block's start, deltas and stop, message_delta, message_stop.

    One block is open at a time: an event of another kind closes it and opens the next.
    """

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._index = -1
        self._open: tuple[str, int] | None = None
        self._ending: dict[str, Any] = {}

    def feed(self, event: Event) -> bytes:
        match event:
            case Text(text):
                block = {"type": "text", "text": ""}
                return self._delta(("text", 0), block, {"type": "text_delta", "text": text})
            case Thinking(text):
                return self._thinking(text)
            case ToolCall():
                return self._tool(event)
            case Started():
                usage = Usage(event.prompt_tokens, cached_tokens=event.cached_tokens)
                message = _message(self._parsed, [], usage)
                start = named("message_start", {"type": "message_start", "message": message})
                return start + _PING
            case Alive():
                return _PING
            case Finished(reason, stop_text):
                self._ending = _ending(reason, stop_text)
            case Done(usage):
                end = {"type": "message_delta", "delta": self._ending, "usage": usage_object(usage)}
                return self._close() + named("message_delta", end) + _STOP
        return b""

    def fail(self, error: Exception) -> bytes:
        return named("error", error_object(error))

    def _thinking(self, text: str) -> bytes:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        shown = "" if self._parsed.options.omit_thinking else text
        return self._delta(("thinking", 0), block, {"type": "thinking_delta", "thinking": shown})

    def _tool(self, call: ToolCall) -> bytes:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": call.arguments}
        return self._delta(("tool_use", call.position), block, delta)

    def _delta(self, kind: tuple[str, int], block: dict[str, Any], delta: dict[str, Any]) -> bytes:
        opened = b""
        if self._open != kind:
            opened = self._close()
            self._index += 1
            self._open = kind
            start = {"type": "content_block_start", "index": self._index, "content_block": block}
            opened += named("content_block_start", start)
        body = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return opened + named("content_block_delta", body)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        signature = b""
        if self._open[0] == "thinking":
            delta = {"type": "signature_delta", "signature": ""}
            body = {"type": "content_block_delta", "index": self._index, "delta": delta}
            signature = named("content_block_delta", body)
        self._open = None
        stop = {"type": "content_block_stop", "index": self._index}
        return signature + named("content_block_stop", stop)


_PING = named("ping", {"type": "ping"})
_STOP = named("message_stop", {"type": "message_stop"})


def encoder(parsed: Parsed) -> StreamEncoder:
    return StreamEncoder(parsed)


def count(tokens: int) -> bytes:
    return msgspec.json.encode({"input_tokens": tokens})


def error_object(error: Exception) -> dict[str, Any]:
    status = _status(error)
    shared = openai_error(error)
    message = str(shared["detail"])
    if isinstance(error, BadRequest) and error.param:
        message = f"{error.param}: {message}"
    kind = _ERROR_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _status(error: Exception) -> int:
    status = status_and_type(error)[0]
    return OVERLOADED if status == 503 else status


def error(error: Exception) -> tuple[int, bytes]:
    return _status(error), msgspec.json.encode(error_object(error))
