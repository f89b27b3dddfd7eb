"""The answers of /v1/responses: the response object, whole or growing behind its events."""

import time
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from mlxgui.engine.types import Done, Event, Finished, Logprobs, Started, Text, Thinking, Usage
from mlxgui.wire import Parsed
from mlxgui.wire.errors import openai_error
from mlxgui.wire.reply import Reply
from mlxgui.wire.responses_body import Body
from mlxgui.wire.responses_tools import flat, full_name
from mlxgui.wire.responses_writer import Said, Writer
from mlxgui.wire.sse import named


class Options(Struct):
    given: Body

    @property
    def is_stored(self) -> bool:
        return self.given.store is not False


def new_id() -> str:
    return f"resp_{uuid.uuid4().hex}"


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def response_object(parsed: Parsed, id: str) -> dict[str, Any]:
    """As it is before anything was written."""
    given: Body = parsed.options.given
    reasoning, text = given.reasoning, given.text
    form = text.format if text and text.format else {"type": "text"}
    return {
        "id": id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": bool(given.background),
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": given.instructions,
        "max_output_tokens": given.max_output_tokens,
        "max_tool_calls": given.max_tool_calls,
        "metadata": given.metadata or {},
        "model": parsed.model,
        "output": [],
        "parallel_tool_calls": given.parallel_tool_calls is not False,
        "previous_response_id": given.previous_response_id,
        "prompt_cache_key": given.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": _summary(given),
        },
        "safety_identifier": given.safety_identifier,
        "service_tier": "default",
        "store": given.store is not False,
        "temperature": given.temperature,
        "text": {"format": form, "verbosity": text.verbosity if text else None},
        "tool_choice": given.tool_choice or "auto",
        "tools": given.tools or [],
        "top_logprobs": given.top_logprobs or 0,
        "top_p": given.top_p,
        "truncation": given.truncation or "disabled",
        "usage": None,
        "user": given.user,
    }


def _summary(given: Body) -> str | None:
    asked = given.reasoning
    return (asked.summary or asked.generate_summary) if asked else None


class ResponseEncoder:
    """Grows one response. `response` is the object as it stands; `feed` says what happened."""

    def __init__(self, parsed: Parsed, id: str = "") -> None:
        given: Body = parsed.options.given
        self.response = response_object(parsed, id or new_id())
        self._writer = Writer(
            self.response["output"],
            self.response["id"],
            has_summary=_summary(given) is not None,
            is_sealed="reasoning.encrypted_content" in (given.include or []),
            tools={
                full_name(space, tool.name): (space, tool) for space, tool, _ in flat(given.tools)
            },
        )
        self._reason = "stop"
        self._number = 0

    def feed(self, event: Event) -> bytes:
        match event:
            case Started():
                new = ["response.created"] if not self._number else []
                return self._states([*new, "response.in_progress"])
            case Finished(reason):
                self._reason = reason
                return b""
            case Done(usage):
                return self._frames(self._end(usage))
            case _:
                return self._frames(self._writer.feed(event))

    def queue(self) -> bytes:
        """Before anything else, where the response waits for its turn in the background."""
        return self._states(["response.created", "response.queued"])

    def fail(self, error: Exception) -> bytes:
        shown: Any = openai_error(error)["error"]
        said = self._writer.close(is_whole=False)
        self.response["status"] = "failed"
        self.response["error"] = {"code": "server_error", "message": shown["message"]}
        return self._frames([*said, ("response.failed", {"response": self.response})])

    def _states(self, names: list[str]) -> bytes:
        return self._frames([(name, {"response": self.response}) for name in names])

    def _end(self, usage: Usage) -> list[Said]:
        is_whole = self._reason != "length"
        said = self._writer.close(is_whole=is_whole)
        self.response["usage"] = usage_object(usage)
        self.response["status"] = "completed" if is_whole else "incomplete"
        if is_whole:
            self.response["completed_at"] = int(time.time())
        else:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*said, (f"response.{self.response['status']}", {"response": self.response})]

    def _frames(self, said: list[Said]) -> bytes:
        frames = []
        for name, body in said:
            frames.append(named(name, {"type": name, "sequence_number": self._number, **body}))
            self._number += 1
        return b"".join(frames)


def encoder(parsed: Parsed) -> ResponseEncoder:
    return ResponseEncoder(parsed)


def complete(parsed: Parsed, reply: Reply) -> bytes:
    made = ResponseEncoder(parsed)
    choice = reply.choice(0)
    events: list[Event] = []
    if choice.thinking:
        events.append(Thinking(choice.thinking))
    if choice.logprobs:
        events.append(Logprobs(choice.logprobs))
    if choice.text:
        events.append(Text(choice.text))
    events += choice.tool_calls
    for event in (*events, Finished(choice.finish_reason), Done(reply.usage)):
        made.feed(event)
    return msgspec.json.encode(made.response)
