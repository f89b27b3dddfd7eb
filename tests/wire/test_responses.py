import json
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, WorkerDied
from mlxgui.engine.types import (
    Done,
    Event,
    Finished,
    ImagePart,
    Message,
    Started,
    TextPart,
    ToolCall,
    ToolCallRecord,
    Usage,
)
from mlxgui.wire import Parsed, responses
from mlxgui.wire.responses_items import seal
from mlxgui.wire.responses_tools import text_of
from tests.wire.events import TURN, frames, split, whole


def parse(**body: Any) -> Parsed:
    return responses.parse(json.dumps({"model": "m", "input": "Hi", **body}).encode())


def messages(*items: Any, **body: Any) -> list[Message]:
    return parse(input=list(items), **body).request.messages


REASONING = [
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
SUMMARY = [
    "response.output_item.added",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_summary_part.done",
    "response.output_item.done",
]
REST = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.mark.parametrize(("asked", "thought"), [({}, REASONING), ({"summary": "auto"}, SUMMARY)])
def test_every_item_opens_grows_and_closes(asked: dict[str, str], thought: list[str]) -> None:
    found = frames(responses, parse(reasoning=asked), TURN)
    names = [name for name, _ in found]
    assert names == ["response.created", "response.in_progress", *thought, *REST]
    assert [body["sequence_number"] for _, body in found] == list(range(len(found)))
    assert all(body["type"] == name for name, body in found)
    added = [b["item"] for n, b in found if n == "response.output_item.added"]
    done = [b["item"] for n, b in found if n == "response.output_item.done"]
    assert [item["id"] for item in added] == [item["id"] for item in done]
    assert {item["status"] for item in added} == {"in_progress"}
    final = found[-1][1]["response"]
    assert final["output"] == done and {item["status"] for item in done} == {"completed"}
    assert done[2]["arguments"] == '{"city":"Rome"}' and done[2]["call_id"] == "call_1"
    assert final["usage"]["input_tokens_details"]["cached_tokens"] == 4


def test_a_whole_answer_has_the_same_items() -> None:
    answer = whole(responses, parse(), TURN)
    kinds = [item["type"] for item in answer["output"]]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    assert answer["status"] == "completed" and answer["usage"]["total_tokens"] == 21


def test_a_broken_stream_ends_with_what_was_written() -> None:
    encoder = responses.encoder(parse())
    raw = b"".join(encoder.feed(event) for event in TURN[:4]) + encoder.fail(WorkerDied())
    name, body = split(raw.decode())[-1]
    assert name == "response.failed"
    assert body["response"]["error"]["code"] == "server_error"
    assert body["response"]["output"][1]["status"] == "incomplete"


def test_a_cut_answer_is_incomplete() -> None:
    answer = whole(responses, parse(), [*TURN[:5], Finished("length"), TURN[-1]])
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


def test_the_items_of_one_turn_are_one_message() -> None:
    found = messages(
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "A"},
        {"type": "function_call_output", "call_id": "c2",
         "output": [{"type": "input_text", "text": "B"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": seal("Aha.")},
        {"role": "assistant", "content": "Done."},
        instructions="Be brief.",
    )  # fmt: skip
    calls = [ToolCallRecord("c1", "look", "{}"), ToolCallRecord("c2", "look", "{}")]
    assert found == [
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "I look.", reasoning="Hm.", tool_calls=calls),
        Message("tool", "A", tool_call_id="c1"),
        Message("tool", "B", tool_call_id="c2"),
        Message("assistant", "Done.", reasoning="Aha."),
    ]


def test_messages_may_be_written_as_in_chat() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    found = messages(
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A"},
    )
    assert found == [
        Message("user", [TextPart("Hi"), ImagePart(url="http://x/y.png")]),
        Message("assistant", "", tool_calls=[ToolCallRecord("c1", "look", "{}")]),
        Message("tool", "A", tool_call_id="c1"),
    ]


def test_choices_of_tools_and_efforts_have_our_words() -> None:
    tools = [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}]
    few = {"type": "allowed_tools", "mode": "required", "tools": [{"name": "b"}]}
    request = parse(tools=tools, tool_choice=few).request
    assert request.tool_choice == "required" and [tool.name for tool in request.tools] == ["b"]
    named = parse(tools=tools, tool_choice={"type": "function", "name": "a"}).request
    assert named.tool_choice == "a"
    assert parse(reasoning={"effort": "none"}).request.enable_thinking is False
    assert parse(reasoning={"effort": "high"}).request.enable_thinking is True
    assert parse().request.enable_thinking is None


PATCH = {"type": "custom", "name": "patch", "description": "Change files."}
CALLED: list[Event] = [
    Started(3),
    ToolCall(0, "call_1", "patch", '{"input": "+ a'),
    ToolCall(0, arguments='\\nb"}'),
    ToolCall(1, "call_2", "clock", "{}"),
    Finished("tool_calls"),
    Done(Usage(3, 9, 0, 0)),
]


def test_a_custom_tool_is_called_with_a_text() -> None:
    parsed = parse(tools=[PATCH, {"type": "function", "name": "clock"}])
    found = frames(responses, parsed, CALLED)
    assert [name.removeprefix("response.") for name, _ in found[2:6]] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    call, clock = found[-1][1]["response"]["output"]
    assert call["type"] == "custom_tool_call" and call["input"] == "+ a\nb"
    assert "arguments" not in call and clock["type"] == "function_call"
    assert found[3][1]["delta"] == found[4][1]["input"] == call["input"]
    assert whole(responses, parsed, CALLED)["output"][0]["input"] == call["input"]
    output = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"}
    back = messages({"role": "user", "content": "x"}, call, output)
    record = ToolCallRecord("call_1", "patch", '{"input":"+ a\\nb"}')
    assert back[1:] == [
        Message("assistant", "", tool_calls=[record]),
        Message("tool", "Done", tool_call_id="call_1"),
    ]


def test_a_namespaces_tools_are_called_in_it() -> None:
    """As Codex sends groups of tools: those of sub-agents and of MCP servers."""
    agents = {
        "type": "namespace",
        "name": "agents",
        "tools": [{"type": "function", "name": "clock", "parameters": {"type": "object"}}, PATCH],
    }
    parsed = parse(tools=[agents, {"type": "function", "name": "clock"}])
    assert [one.name for one in parsed.request.tools] == ["agents__clock", "agents__patch", "clock"]
    written: list[Event] = [
        Started(3),
        ToolCall(0, "call_1", "agents__clock", "{}"),
        ToolCall(1, "call_2", "agents__patch", '{"input": "a"}'),
        ToolCall(2, "call_3", "clock", "{}"),
        Finished("tool_calls"),
        Done(Usage(3, 9, 0, 0)),
    ]
    inner, free, outer = frames(responses, parsed, written)[-1][1]["response"]["output"]
    assert (inner["type"], inner["namespace"], inner["name"]) == (
        "function_call",
        "agents",
        "clock",
    )
    assert (free["type"], free["namespace"], free["input"]) == ("custom_tool_call", "agents", "a")
    assert outer["name"] == "clock" and "namespace" not in outer
    back = messages({"role": "user", "content": "x"}, inner, free, outer)[1].tool_calls
    assert [call.name for call in back] == ["agents__clock", "agents__patch", "clock"]
    with pytest.raises(BadRequest) as caught:
        parse(tools=[{"type": "namespace", "name": "a", "tools": [{"type": "web_search"}]}])
    assert caught.value.param == "tools[0].tools[0].type"


def test_a_custom_tools_grammar_is_told_and_a_warning_says_so() -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": "[+-].*"}
    choice = {"type": "custom", "name": "patch"}
    parsed = parse(tools=[{**PATCH, "format": form}], tool_choice=choice)
    (tool,) = parsed.request.tools
    assert tool.description.startswith("Change files.") and "[+-].*" in tool.description
    assert tool.parameters["required"] == ["input"] and parsed.request.tool_choice == "patch"
    assert parsed.warnings == ["tools[0].format is told to the model, not enforced"]
    assert not parse(tools=[{**PATCH, "format": {"type": "text"}}]).warnings


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"input": "a', "a"), ('{"input": "a"', "a"), ('{"input": "a\\', '{"input": "a\\'), ("", ""),
     ('{"other": 1}', '{"other": 1}'), ("[1]", "[1]")],
)  # fmt: skip
def test_arguments_that_are_cut_or_odd_lose_nothing(arguments: str, text: str) -> None:
    assert text_of(arguments) == text


def test_formats_become_constraints() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "name": "x", "schema": schema}
    constraint = parse(text={"format": form}).request.constraint
    assert constraint is not None and json.loads(constraint.text) == schema
    assert parse(text={"format": {"type": "text"}}).request.constraint is None


def test_what_is_missing_is_named() -> None:
    for body, param in [
        ({"input": None}, "input"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"input": [{"type": "custom_tool_call", "name": "x", "call_id": "c"}]}, "input[0]"),
        ({"moderation": {"model": "x"}}, "moderation"),
    ]:
        with pytest.raises(BadRequest) as caught:
            parse(**body)
        assert caught.value.param == param
