"""/v1/messages and /v1/messages/count_tokens: Anthropic's dialect."""

from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint, GenerationRequest, Sampling, Tool
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, anthropic_answer, fields
from mlxgui.wire.anthropic_body import Body, CountBody, ThinkingConfig
from mlxgui.wire.anthropic_messages import conversation

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "request-id"
defaults: dict[str, Any] = {"temperature": 1.0}
complete, encoder, error = (
    anthropic_answer.complete,
    anthropic_answer.encoder,
    anthropic_answer.error,
)

_decoder = msgspec.json.Decoder(Body)
_count_decoder = msgspec.json.Decoder(CountBody)
_known = fields.struct_fields(Body)


def parse(body: bytes) -> Parsed:
    given = fields.decode(_decoder, body)
    check_thinking(given.thinking, given.max_tokens)
    sampling = fields.chosen(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    request = msgspec.structs.replace(
        prompt_of(given),
        sampling=Sampling(**sampling),
        max_tokens=given.max_tokens,
        stop=fields.stop_list(given.stop_sequences, param="stop_sequences"),
        keep_alive_seconds=fields.seconds_of(given.keep_alive),
    )
    return Parsed(
        model=given.model,
        request=request,
        stream=bool(given.stream),
        given=frozenset(sampling) | {"max_tokens"},
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
        options=anthropic_answer.Options(
            omit_thinking=given.thinking is not None and given.thinking.display == "omitted"
        ),
    )


def parse_count(body: bytes) -> Parsed:
    """What is to be counted: a request that is only read."""
    given = fields.decode(_count_decoder, body)
    return Parsed(model=given.model, request=prompt_of(given))


def prompt_of(given: CountBody) -> GenerationRequest:
    choice = given.tool_choice
    if choice is not None and choice.type in ("any", "tool") and not given.tools:
        raise BadRequest("tool_choice needs tools to choose from.", param="tool_choice")
    thinking = given.thinking
    return GenerationRequest(
        messages=conversation(given),
        tools=tools_of(given),
        tool_choice=tool_choice(given),
        parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
        constraint=constraint(given),
        enable_thinking=None if thinking is None else thinking.type != "disabled",
        thinking_budget=(thinking.budget_tokens or 0) if thinking else 0,
        template_kwargs=effort(given),
    )


def check_thinking(thinking: ThinkingConfig | None, max_tokens: int) -> None:
    if thinking is None or thinking.type != "enabled":
        return
    if thinking.budget_tokens is None:
        raise BadRequest("Thinking needs budget_tokens.", param="thinking.budget_tokens")
    if thinking.budget_tokens >= max_tokens:
        raise BadRequest(
            "max_tokens must be greater than thinking.budget_tokens.",
            param="thinking.budget_tokens",
        )


def tools_of(given: CountBody) -> list[Tool]:
    for i, tool in enumerate(given.tools or []):
        if tool.type not in (None, "custom"):
            raise Unsupported(
                f"Tools of type “{tool.type}” run on Anthropic's servers; describe a tool of your"
                " own with input_schema.",
                param=f"tools[{i}].type",
            )
    return [Tool(t.name, t.description or "", t.input_schema or {}) for t in given.tools or []]


def tool_choice(given: CountBody) -> str:
    choice = given.tool_choice
    if choice is None or choice.type == "auto":
        return "auto"
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("A tool_choice of type “tool” needs a name.", param="tool_choice.name")
        return choice.name
    return "required" if choice.type == "any" else "none"


def constraint(given: CountBody) -> Constraint | None:
    config = given.output_config
    if config is None or config.format is None:
        return None
    return Constraint("json_schema", msgspec.json.encode(config.format.schema).decode())


def effort(given: CountBody) -> dict[str, Any]:
    """Templates that know efforts call them as OpenAI does."""
    config = given.output_config
    return {"reasoning_effort": config.effort} if config and config.effort else {}
