"""The answers of /v1/completions: one document, or chunks as server-sent events."""

import math
import time
import uuid
from typing import Any

import msgspec

from mlxgui.engine.types import (
    Alive,
    Done,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Progress,
    Text,
    Thinking,
    TokenProb,
)
from mlxgui.wire import Parsed
from mlxgui.wire.errors import openai_error
from mlxgui.wire.openai_answer import usage_object
from mlxgui.wire.reply import Reply
from mlxgui.wire.sse import data

DONE = b"data: [DONE]\n\n"


def _head(parsed: Parsed) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": parsed.model,
    }


def _reason(reason: FinishReason) -> str:
    return "stop" if reason == "tool_calls" else reason


def logprobs_object(tokens: list[TokenProb], offset: int = 0) -> dict[str, Any]:
    """Four lists side by side. Offsets are characters in the choice's text, from `offset` on."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_number(token) for token in tokens],
        "top_logprobs": [_best(token) for token in tokens],
        "text_offset": offsets,
    }


def _number(token: TokenProb) -> float | None:
    return None if math.isnan(token.logprob) else token.logprob


def _best(token: TokenProb) -> dict[str, float] | None:
    """The likeliest tokens, and the one that was drawn. Of two that read alike, such as halves of
    letters, the drawn one counts, then the likelier."""
    if math.isnan(token.logprob):
        return None
    found = {other.text: other.logprob for other in reversed(token.alternatives)}
    best = dict(reversed(found.items()))
    return best | {token.text: token.logprob}


def complete(parsed: Parsed, reply: Reply) -> bytes:
    choices = [
        {
            "text": choice.text,
            "index": index,
            "logprobs": logprobs_object(choice.logprobs) if choice.logprobs else None,
            "finish_reason": _reason(choice.finish_reason),
        }
        for index, choice in sorted(reply.choices.items())
    ]
    return msgspec.json.encode(
        {**_head(parsed), "choices": choices, "usage": usage_object(reply.usage)}
    )


class ChunkEncoder:
    """Server-sent events: text, the finish reason, usage where asked for, [DONE]."""

    def __init__(self, parsed: Parsed) -> None:
        self._head = _head(parsed)
        self._include_usage = parsed.options.include_usage
        self._probs: dict[int, list[TokenProb]] = {}
        self._offsets: dict[int, int] = {}

    def feed(self, event: Event) -> bytes:
        match event:
            case Text(text, index) | Thinking(text, index):
                return self._chunk(index, text)
            case Logprobs(tokens, index):
                self._probs.setdefault(index, []).extend(tokens)
            case Progress(processed, total):
                return b": prefill %d/%d\n\n" % (processed, total)
            case Alive():
                return b": still working\n\n"
            case Finished(reason, _, index):
                return self._chunk(index, "", _reason(reason))
            case Done(usage):
                if not self._include_usage:
                    return DONE
                return data({**self._head, "choices": [], "usage": usage_object(usage)}) + DONE
        return b""

    def fail(self, error: Exception) -> bytes:
        return data(openai_error(error)) + DONE

    def _chunk(self, index: int, text: str, reason: str | None = None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
        if tokens := self._probs.pop(index, None):
            start = self._offsets.get(index, 0)
            choice["logprobs"] = logprobs_object(tokens, start)
            self._offsets[index] = start + sum(len(token.text) for token in tokens)
        body = {**self._head, "choices": [choice]}
        if self._include_usage:
            body["usage"] = None
        return data(body)


def encoder(parsed: Parsed) -> ChunkEncoder:
    return ChunkEncoder(parsed)
