import json
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, WorkerDied
from mlxgui.engine.types import Finished, Message, ToolCallRecord
from mlxgui.wire import Parsed, responses
from mlxgui.wire.responses_items import seal
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
        ({"moderation": {"model": "x"}}, "moderation"),
    ]:
        with pytest.raises(BadRequest) as caught:
            parse(**body)
        assert caught.value.param == param
