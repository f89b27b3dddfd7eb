"""The answers of /v1/chat/completions: one document, or chunks as server-sent events."""

import time
import uuid
from typing import Any

import msgspec

from mlxgui.engine.types import (
    Alive,
    CacheUse,
    Done,
    Event,
    Finished,
    Logprobs,
    Progress,
    Started,
    Text,
    Thinking,
    TokenProb,
    ToolCall,
    Usage,
)
from mlxgui.wire import Parsed
from mlxgui.wire.errors import openai_error
from mlxgui.wire.reply import Choice, Reply


def _id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "accepted_prediction_tokens": usage.accepted_tokens,
            "rejected_prediction_tokens": usage.drafted_tokens - usage.accepted_tokens,
        },
    }


def _call_object(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _message_object(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.thinking:
        message["reasoning_content"] = message["reasoning"] = choice.thinking
    if choice.tool_calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [_call_object(call) for call in choice.tool_calls]
    return message


def _logprobs_object(tokens: list[TokenProb]) -> dict[str, Any]:
    return {"content": [_token_object(token, with_top=True) for token in tokens]}


def _token_object(token: TokenProb, *, with_top: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.text.encode()),
        "id": token.id,
    }
    if with_top:
        found["top_logprobs"] = [_token_object(other) for other in token.alternatives]
    return found


def complete(parsed: Parsed, reply: Reply) -> bytes:
    choices = [
        {
            "index": index,
            "message": _message_object(choice),
            "logprobs": _logprobs_object(choice.logprobs) if choice.logprobs else None,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in sorted(reply.choices.items())
    ]
    return msgspec.json.encode(
        {
            "id": _id(),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": parsed.model,
            "choices": choices,
            "usage": usage_object(reply.usage),
            "x_cache": reply.started.cache if reply.started else None,
        }
    )


class ChunkEncoder:
    """Server-sent events: a role chunk, content chunks, the finish reason, usage, [DONE]."""

    def __init__(self, parsed: Parsed) -> None:
        self._include_usage = parsed.options.include_usage
        self._n = parsed.request.n
        self._probs: dict[int, list[TokenProb]] = {}
        head = {
            "id": _id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": parsed.model,
        }
        # All chunks begin alike: encoded once.
        self._head = b"data: " + msgspec.json.encode(head)[:-1] + b',"choices":'

    def feed(self, event: Event) -> bytes:
        match event:
            case Text(text, index):
                return self._delta(index, {"content": text})
            case Thinking(text, index):
                return self._delta(index, {"reasoning_content": text, "reasoning": text})
            case ToolCall(position, id, _, arguments, index):
                more = {"function": {"arguments": arguments}}
                call = {"index": position, **(_call_object(event) if id else more)}
                return self._delta(index, {"tool_calls": [call]})
            case Logprobs(tokens, index):
                self._probs.setdefault(index, []).extend(tokens)
            case Started(_, _, cache):
                return self._begin(cache)
            case Progress(processed, total):
                return b": prefill %d/%d\n\n" % (processed, total)
            case Alive():
                return b": still working\n\n"
            case Finished(reason, _, index):
                return self._delta(index, {}, reason)
            case Done(usage):
                return self._end(usage)
        return b""

    def _begin(self, cache: CacheUse) -> bytes:
        """A role chunk for each choice; how the prompt cache did goes with the first."""
        role = {"role": "assistant", "content": ""}
        chunks = [self._delta(index, role) for index in range(self._n)]
        extra = b',"x_cache":' + msgspec.json.encode(cache) + b"}\n\n"
        return b"".join([chunks[0].removesuffix(b"}\n\n") + extra, *chunks[1:]])

    def fail(self, error: Exception) -> bytes:
        return b"data: " + msgspec.json.encode(openai_error(error)) + b"\n\ndata: [DONE]\n\n"

    def _delta(self, index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": reason}
        if probs := self._probs.pop(index, None):
            choice["logprobs"] = _logprobs_object(probs)
        tail = b',"usage":null}\n\n' if self._include_usage else b"}\n\n"
        return self._head + msgspec.json.encode([choice]) + tail

    def _end(self, usage: Usage) -> bytes:
        if not self._include_usage:
            return b"data: [DONE]\n\n"
        body = msgspec.json.encode(usage_object(usage))
        return self._head + b'[],"usage":' + body + b"}\n\ndata: [DONE]\n\n"


def encoder(parsed: Parsed) -> ChunkEncoder:
    return ChunkEncoder(parsed)
