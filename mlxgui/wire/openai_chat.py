"""/v1/chat/completions: OpenAI's chat dialect, and the mlx-lm and mlx-vlm servers' fields."""

from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import (
    Constraint,
    GenerationRequest,
    Sampling,
)
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, fields, openai_answer
from mlxgui.wire.errors import openai_response
from mlxgui.wire.openai_body import Body, NamedTool, StreamOptions
from mlxgui.wire.openai_messages import messages_of, tools_of
from mlxgui.wire.openai_sampling import adapter_of, sampling_of

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "x-request-id"
# mlx-lm's document says 1.0; its 100 tokens and MLX-GUI's 8192 contradict each other, and an answer
# cut short unasked is what people complain about: docs/decisions/0007.
defaults: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8192}
complete, encoder, error = openai_answer.complete, openai_answer.encoder, openai_response

_decoder = msgspec.json.Decoder(Body)
_known = fields.struct_fields(Body)


def parse(body: bytes) -> Parsed:
    given = fields.decode(_decoder, body)
    _refuse(given)
    sampling = sampling_of(given)
    max_tokens = given.max_completion_tokens or given.max_tokens or 0
    request = GenerationRequest(
        messages=messages_of(given.messages),
        tools=tools_of(given.tools),
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
        image_size=given.resize_shape or [],
        priority=given.priority or 0,
        keep_alive_seconds=fields.seconds_of(given.keep_alive),
        draft_tokens=given.num_draft_tokens or 0,
    )
    adapter, named_by = adapter_of(given.adapters, given.adapter_path)
    return Parsed(
        model=given.model,
        request=request,
        stream=bool(given.stream),
        adapter=adapter,
        adapter_param=named_by,
        draft=given.draft_model or "",
        given=frozenset(sampling) | ({"max_tokens"} if max_tokens else set()),
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=given.stream_options or StreamOptions(),
    )


def _refuse(given: Body) -> None:
    """Known parameters that no model here honours yet: never silently ignored."""
    if given.top_logprobs and (given.logprobs is None or given.logprobs is False):
        raise BadRequest("top_logprobs needs logprobs: true.", param="top_logprobs")
    if given.typical_p not in (None, 1):
        raise Unsupported("mlx-lm has no typical sampling; leave typical_p out.", param="typical_p")
    if given.tool_choice not in (None, "none", "auto") and not given.tools:
        raise BadRequest("tool_choice needs tools to choose from.", param="tool_choice")


def _alternatives(given: Body) -> int:
    """mlx-lm documents a number, OpenAI a switch beside `top_logprobs`; that counts before it."""
    if given.logprobs is None or given.logprobs is False:
        return -1
    if given.top_logprobs is not None or given.logprobs is True:
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
    if not isinstance(choice, NamedTool):
        return choice
    if choice.function.name in ("auto", "none", "required"):
        raise BadRequest(
            f"A function named “{choice.function.name}” cannot be chosen; give it another name.",
            param="tool_choice",
        )
    return choice.function.name


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
