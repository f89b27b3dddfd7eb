"""/v1/chat/completions: OpenAI's chat dialect, and the mlx-lm and mlx-vlm servers' fields."""

from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import (
    Constraint,
    GenerationRequest,
    Message,
    Part,
    Sampling,
    TextPart,
    Tool,
    ToolCallRecord,
)
from mlxgui.wire import Parsed, fields
from mlxgui.wire.errors import openai_response
from mlxgui.wire.openai_answer import complete, encoder
from mlxgui.wire.openai_body import Body, MessageIn, NamedTool, PartIn, StreamOptions

content_type = "application/json"
# mlx-lm's document says 1.0; its 100 tokens and MLX-GUI's 8192 contradict each other, and an answer
# cut short unasked is what people complain about: docs/decisions/0007.
defaults: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8192}
error = openai_response

__all__ = ["complete", "content_type", "defaults", "encoder", "error", "parse"]

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
        tool_choice=_tool_choice(given),
        parallel_tool_calls=given.parallel_tool_calls is not False,
        constraint=_constraint(given),
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
    if given.tool_choice not in (None, "none", "auto") and not given.tools:
        raise BadRequest("tool_choice needs tools to choose from.", param="tool_choice")


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


def _tool_choice(given: Body) -> str:
    choice = given.tool_choice or "auto"
    return choice.function.name if isinstance(choice, NamedTool) else choice


def _constraint(given: Body) -> Constraint | None:
    wanted = given.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Constraint("json_object")
    if wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise BadRequest("response_format needs json_schema.", param="response_format")
        schema = msgspec.json.encode(wanted.json_schema.schema).decode()
        return Constraint("json_schema", schema)
    text = wanted.regex if wanted.type == "regex" else wanted.grammar
    if not text:
        raise BadRequest(f"response_format needs {wanted.type}.", param="response_format")
    return Constraint(wanted.type, text)


def _tools(given: Body) -> list[Tool]:
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
