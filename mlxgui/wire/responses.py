"""/v1/responses: OpenAI's dialect of items. What is stored comes in by `parsed_with`."""

from typing import Any

import msgspec

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import Constraint, GenerationRequest, Message, Sampling, Tool
from mlxgui.wire import EVENT_STREAM, JSON, Parsed, fields, responses_answer
from mlxgui.wire.errors import openai_response
from mlxgui.wire.responses_body import Body, CountBody, ItemIn, NamedTool
from mlxgui.wire.responses_items import messages_of
from mlxgui.wire.responses_tools import FREE_TEXT, flat, full_name, told_of, unenforced

content_type, stream_type = JSON, EVENT_STREAM
request_id_header = "x-request-id"
defaults: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8192}
complete, encoder, error = responses_answer.complete, responses_answer.encoder, openai_response

_decoder = msgspec.json.Decoder(Body)
_count_decoder = msgspec.json.Decoder(CountBody)
_known = fields.struct_fields(Body)

_REFUSED = {
    "conversation": "Send the items yourself, or previous_response_id.",
    "prompt": "Stored prompt templates are not kept here; send input.",
    "context_management": "Items are never compacted here; leave context_management out.",
    "moderation": "There is no moderation model; leave moderation out.",
}


def parse(body: bytes) -> Parsed:
    given = read(body)
    return parsed_with(given, items_of(given), unknown(body))


def read(body: bytes) -> Body:
    """The body alone, checked. Raises BadRequest that names the field."""
    given = fields.decode(_decoder, body)
    for name, why in _REFUSED.items():
        if getattr(given, name) not in (None, [], {}):
            raise Unsupported(why, param=name)
    if given.background and given.store is False:
        raise BadRequest("A background response must be stored.", param="store")
    if given.input is None:
        raise BadRequest("input is missing.", param="input")
    return given


def read_count(body: bytes) -> CountBody:
    return fields.decode(_count_decoder, body)


def unknown(body: bytes) -> list[str]:
    return [f"unknown parameter: {name}" for name in fields.unknown_fields(body, _known)]


def items_of(given: CountBody) -> list[ItemIn]:
    """`input` as items, whatever it came as."""
    if given.input is None:
        return []
    if isinstance(given.input, str):
        return [ItemIn(role="user", content=given.input)]
    return given.input


def parsed_with(given: Body, items: list[ItemIn], warnings: list[str]) -> Parsed:
    """`items` are the whole conversation: what was stored, then `items_of(given)`."""
    sampling = _sampling(given)
    request = msgspec.structs.replace(
        prompt_of(given, items),
        sampling=Sampling(**sampling),
        max_tokens=given.max_output_tokens or 0,
        logprobs=_alternatives(given),
        stop=fields.stop_list(given.stop),
        thinking_budget=given.thinking_budget or 0,
        priority=given.priority or 0,
        keep_alive_seconds=fields.seconds_of(given.keep_alive),
    )
    return Parsed(
        model=given.model,
        request=request,
        stream=bool(given.stream),
        adapter=given.adapter_path or "",
        adapter_param="adapter_path",
        given=frozenset(sampling) | ({"max_tokens"} if given.max_output_tokens else set()),
        warnings=[*warnings, *unenforced(given.tools or [])],
        options=responses_answer.Options(given),
    )


def prompt_of(given: CountBody, items: list[ItemIn]) -> GenerationRequest:
    head = [Message("system", given.instructions)] if given.instructions else []
    messages = [*head, *messages_of(items)]
    if not messages:
        raise BadRequest("input is missing.", param="input")
    reasoning = given.reasoning
    effort = reasoning.effort if reasoning else None
    thinking = given.enable_thinking
    if thinking is None and effort is not None:
        thinking = effort != "none"
    choice, tools = _choice(given)
    return GenerationRequest(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=given.parallel_tool_calls is not False,
        constraint=_constraint(given),
        enable_thinking=thinking,
        image_size=given.resize_shape or [],
        template_kwargs=_template_kwargs(given, effort),
    )


def _template_kwargs(given: CountBody, effort: str | None) -> dict[str, Any]:
    verbosity = given.text.verbosity if given.text else None
    wishes = fields.chosen(reasoning_effort=effort, verbosity=verbosity)
    return {**wishes, **(given.chat_template_kwargs or {})}


def _choice(given: CountBody) -> tuple[str, list[Tool]]:
    """Which tool to call, and those that may be."""
    tools = _tools(given)
    wanted = given.tool_choice or "auto"
    choice: str
    if not isinstance(wanted, NamedTool):
        choice = wanted
    elif wanted.type == "allowed_tools":
        names = {str(tool.get("name")) for tool in wanted.tools}
        tools, choice = [tool for tool in tools if tool.name in names], wanted.mode
    else:
        choice = wanted.name
    if choice not in ("none", "auto") and not tools:
        raise BadRequest("tool_choice needs tools to choose from.", param="tool_choice")
    return choice, tools


def _tools(given: CountBody) -> list[Tool]:
    found = []
    for namespace, tool, where in flat(given.tools):
        if tool.type not in ("function", "custom"):
            raise Unsupported(
                f"Tools of type “{tool.type}” run on OpenAI's servers; use functions.",
                param=f"{where}.type",
            )
        if not tool.name:
            raise BadRequest("A tool needs a name.", param=f"{where}.name")
        takes = FREE_TEXT if tool.type == "custom" else tool.parameters or {}
        found.append(Tool(full_name(namespace, tool.name), told_of(tool), takes))
    return found


def _constraint(given: CountBody) -> Constraint | None:
    wanted = given.text.format if given.text else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Constraint("json_object")
    if wanted.schema is None:
        raise BadRequest("A format of type json_schema needs schema.", param="text.format.schema")
    return Constraint("json_schema", msgspec.json.encode(wanted.schema).decode())


def _alternatives(given: Body) -> int:
    if given.top_logprobs is not None:
        return given.top_logprobs
    return 0 if "message.output_text.logprobs" in (given.include or []) else -1


def _sampling(given: Body) -> dict[str, Any]:
    return fields.chosen(
        temperature=given.temperature,
        top_p=given.top_p,
        top_k=given.top_k,
        min_p=given.min_p,
        repetition_penalty=given.repetition_penalty,
        presence_penalty=given.presence_penalty,
        frequency_penalty=given.frequency_penalty,
        seed=given.seed,
    )
