"""/v1/chat/completions: OpenAI's chat dialect, and the mlx-lm and mlx-vlm servers' fields."""

import time
import uuid
from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import (
    Alive,
    Done,
    Event,
    Finished,
    GenerationRequest,
    Logprobs,
    Message,
    Part,
    Progress,
    Sampling,
    Started,
    Text,
    TextPart,
    Thinking,
    TokenProb,
    Tool,
    ToolCall,
    ToolCallRecord,
    Usage,
)
from mlxgui.wire import Parsed, fields
from mlxgui.wire.errors import openai_error, openai_response
from mlxgui.wire.openai_body import Body, MessageIn, PartIn, StreamOptions
from mlxgui.wire.reply import Choice, Reply

content_type = "application/json"
# mlx-lm's document says 1.0; its 100 tokens and MLX-GUI's 8192 contradict each other, and an answer
# cut short unasked is what people complain about: docs/decisions/0007.
defaults: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8192}
error = openai_response

_decoder = msgspec.json.Decoder(Body)
_known = fields.struct_fields(Body)


def parse(body: bytes) -> Parsed:
    given = fields.decode(_decoder, body)
    _refuse(given)
    sampling = _sampling(given)
    max_tokens = given.max_completion_tokens or given.max_tokens or 0
    request = GenerationRequest(
        messages=[_message(message, i) for i, message in enumerate(given.messages)],
        tools=_tools(given),
        sampling=Sampling(**sampling),
        n=given.n or 1,
        max_tokens=max_tokens,
        min_tokens=given.min_tokens or 0,
        ignore_eos=bool(given.ignore_eos),
        logprobs=_alternatives(given),
        stop=fields.stop_list(given.stop),
        template_kwargs=_template_kwargs(given),
        enable_thinking=_thinking(given),
        thinking_budget=given.thinking_budget or 0,
        role_mapping=given.role_mapping or {},
        priority=given.priority or 0,
    )
    return Parsed(
        model=given.model,
        request=request,
        stream=bool(given.stream),
        adapter=given.adapters or given.adapter_path or "",
        given=frozenset(sampling) | ({"max_tokens"} if max_tokens else set()),
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=given.stream_options or StreamOptions(),
    )


def _refuse(given: Body) -> None:
    """Known parameters that no model here honours yet: never silently ignored."""
    if given.top_logprobs and not given.logprobs:
        raise BadRequest("top_logprobs needs logprobs: true.", param="top_logprobs")
    if given.typical_p not in (None, 1):
        raise Unsupported("mlx-lm has no typical sampling; leave typical_p out.", param="typical_p")
    if given.draft_model:
        raise Unsupported("Draft models are not supported.", param="draft_model")
    if given.response_format and given.response_format.type != "text":
        raise Unsupported("Only the response format “text” is supported.", param="response_format")
    if given.tool_choice not in (None, "auto", "none"):
        raise Unsupported("tool_choice must be “auto” or “none”.", param="tool_choice")


def _alternatives(given: Body) -> int:
    """mlx-lm documents a number, OpenAI a switch beside `top_logprobs`."""
    if given.logprobs is None or given.logprobs is False:
        return -1
    if given.logprobs is True:
        return given.top_logprobs or 0
    return int(given.logprobs)


def _thinking(given: Body) -> bool | None:
    """An effort of “none” switches thinking off; any other switches it on."""
    if given.enable_thinking is not None or given.reasoning_effort is None:
        return given.enable_thinking
    return given.reasoning_effort != "none"


def _template_kwargs(given: Body) -> dict[str, Any]:
    kwargs = dict(given.chat_template_kwargs or {})
    if given.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", given.reasoning_effort)
    return kwargs


def _tools(given: Body) -> list[Tool]:
    if given.tool_choice == "none":
        return []
    specs = [tool.function for tool in given.tools or []]
    return [Tool(s.name, s.description or "", s.parameters or {}) for s in specs]


def _sampling(given: Body) -> dict[str, Any]:
    """Only what was given, in the engine's names."""
    chosen: dict[str, Any] = {
        "temperature": given.temperature,
        "top_p": given.top_p,
        "top_k": given.top_k,
        "min_p": given.min_p,
        "repetition_penalty": given.repetition_penalty,
        "repetition_context_tokens": given.repetition_context_size,
        "presence_penalty": given.presence_penalty,
        "presence_context_tokens": given.presence_context_size,
        "frequency_penalty": given.frequency_penalty,
        "frequency_context_tokens": given.frequency_context_size,
        "xtc_probability": given.xtc_probability,
        "xtc_threshold": given.xtc_threshold,
        "logit_bias": fields.token_biases(given.logit_bias) or None,
        "seed": given.seed,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _message(given: MessageIn, index: int) -> Message:
    content = given.content if given.content is not None else ""
    parts = content if isinstance(content, str) else [_part(part, index) for part in content]
    return Message(
        role=given.role,
        content=parts,
        name=given.name or "",
        reasoning=given.reasoning_content or given.reasoning or "",
        tool_calls=[
            ToolCallRecord(call.id, call.function.name, call.function.arguments)
            for call in given.tool_calls or []
        ],
        tool_call_id=given.tool_call_id or "",
    )


def _part(part: PartIn, index: int) -> Part:
    if part.type in ("text", "input_text"):
        return TextPart(part.text)
    raise Unsupported(
        f"Content of type “{part.type}” is not supported by this model.",
        param=f"messages[{index}].content",
    )


# -- the answer -----------------------------------------------------------------------------------


def _id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
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
            case ToolCall(position, _, _, _, index):
                call = {"index": position, **_call_object(event)}
                return self._delta(index, {"tool_calls": [call]})
            case Logprobs(tokens, index):
                self._probs.setdefault(index, []).extend(tokens)
            case Started():
                role = {"role": "assistant", "content": ""}
                return b"".join(self._delta(index, role) for index in range(self._n))
            case Progress(processed, total):
                return b": prefill %d/%d\n\n" % (processed, total)
            case Alive():
                return b": still working\n\n"
            case Finished(reason, _, index):
                return self._delta(index, {}, reason)
            case Done(usage):
                return self._end(usage)
        return b""

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
