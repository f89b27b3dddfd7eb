"""Ollama's answers: one document, or a document a line; and its errors. Times in nanoseconds."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import (
    Done,
    Event,
    Finished,
    Logprobs,
    Text,
    Thinking,
    Timing,
    TokenProb,
    ToolCall,
    Usage,
)
from mlxgui.wire import Parsed
from mlxgui.wire.errors import openai_error, status_and_type
from mlxgui.wire.reply import Choice, Reply

NANO = 1_000_000_000


class Piece(Struct, kw_only=True):
    """What one line says, whatever the route calls it."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = []


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def body_of(parsed: Parsed, shape: Any, piece: Piece, done: bool) -> dict[str, Any]:
    head = {"model": parsed.model, "created_at": now()}
    return {**head, **shape(piece), "done": done}


def ending(parsed: Parsed, reason: str, usage: Usage, timing: Timing) -> dict[str, Any]:
    total = time.perf_counter_ns() - parsed.options.began
    prefill, decode = int(timing.prefill_seconds * NANO), int(timing.decode_seconds * NANO)
    return {
        "done_reason": "length" if reason == "length" else "stop",
        "total_duration": total,
        "load_duration": max(0, total - prefill - decode),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": prefill,
        "eval_count": usage.completion_tokens,
        "eval_duration": decode,
    }


def logprobs_of(tokens: list[TokenProb]) -> list[dict[str, Any]]:
    return [{**_prob(one), "top_logprobs": [_prob(o) for o in one.alternatives]} for one in tokens]


def _prob(token: TokenProb) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode())}


def complete(parsed: Parsed, reply: Reply, shape: Any) -> bytes:
    """`shape` turns a Piece into the route's own keys."""
    choice: Choice = reply.choice(0)
    piece = Piece(text=choice.text, thinking=choice.thinking, calls=choice.tool_calls)
    body = body_of(parsed, shape, piece, True)
    if choice.logprobs:
        body["logprobs"] = logprobs_of(choice.logprobs)
    end = ending(parsed, choice.finish_reason, reply.usage, reply.timing)
    return msgspec.json.encode({**body, **end})


class LineEncoder:
    """A JSON document a line. A call comes whole, since its arguments are an object here."""

    def __init__(self, parsed: Parsed, shape: Any) -> None:
        self._parsed = parsed
        self._shape = shape
        self._probs: list[TokenProb] = []
        self._gathered = Reply()
        self._reason = "stop"

    def feed(self, event: Event) -> bytes:
        match event:
            case Text(text):
                return self._line(Piece(text=text))
            case Thinking(text):
                return self._line(Piece(thinking=text))
            case Logprobs(tokens):
                self._probs += tokens
            case ToolCall():
                self._gathered.add(event)
            case Finished(reason):
                self._reason = reason
                calls = self._gathered.choice(0).tool_calls
                return self._line(Piece(calls=calls)) if calls else b""
            case Done(usage, timing):
                end = ending(self._parsed, self._reason, usage, timing)
                return _line({**body_of(self._parsed, self._shape, Piece(), True), **end})
        return b""

    def fail(self, error: Exception) -> bytes:
        return _line(error_object(error))

    def _line(self, piece: Piece) -> bytes:
        body = body_of(self._parsed, self._shape, piece, False)
        if self._probs:
            body["logprobs"], self._probs = logprobs_of(self._probs), []
        return _line(body)


def _line(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body) + b"\n"


def call_object(call: ToolCall) -> dict[str, Any]:
    """Arguments are an object; text that is none comes as it stands."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        arguments = {"text": call.arguments}
    about = {"index": call.position, "name": call.name, "arguments": arguments}
    return {"id": call.id, "function": about}


def error_object(error: Exception) -> dict[str, Any]:
    message = str(openai_error(error)["detail"])
    if isinstance(error, BadRequest) and error.param:
        message = f"{error.param}: {message}"
    return {"error": message}


def error(error: Exception) -> tuple[int, bytes]:
    return status_and_type(error)[0], msgspec.json.encode(error_object(error))
