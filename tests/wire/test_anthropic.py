import json
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, QueueFull, TimedOut, Unsupported
from mlxgui.engine.types import Alive, Finished, ImagePart, Message, TextPart, ToolCallRecord
from mlxgui.wire import Parsed, anthropic
from tests.wire.events import TURN, frames, whole

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def parse(**body: Any) -> Parsed:
    whole = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    return anthropic.parse(json.dumps({**whole, **body}).encode())


def messages(*given: Any, **body: Any) -> list[Message]:
    return parse(messages=list(given), **body).request.messages


def test_events_come_in_anthropics_order() -> None:
    found = frames(anthropic, parse(), [*TURN[:1], Alive(), *TURN[1:]])
    assert [name for name, _ in found] == [
        "message_start", "ping", "ping",
        "content_block_start", "content_block_delta", "content_block_delta",
        "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert all(body["type"] == name for name, body in found)
    starts = [body for name, body in found if name == "content_block_start"]
    assert [body["index"] for body in starts] == [0, 1, 2, 3]
    kinds = [body["content_block"]["type"] for body in starts]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert found[0][1]["message"]["usage"]["cache_read_input_tokens"] == 4
    end = found[-2][1]
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (8, 9)
    assert end["usage"]["output_tokens_details"] == {"thinking_tokens": 3}


def test_a_whole_answer_has_the_same_blocks() -> None:
    answer = whole(anthropic, parse(), TURN)
    assert [block["type"] for block in answer["content"]] == [
        "thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert answer["content"][0]["thinking"] == "Let me think."
    assert answer["content"][2]["input"] == {"city": "Rome"}


def test_thinking_can_be_left_out_of_the_answer() -> None:
    thinking = {"type": "enabled", "budget_tokens": 20, "display": "omitted"}
    parsed = parse(thinking=thinking)
    assert parsed.request.enable_thinking and parsed.request.thinking_budget == 20
    assert whole(anthropic, parsed, TURN)["content"][0]["thinking"] == ""


@pytest.mark.parametrize(
    ("finished", "reason", "text"),
    [
        (Finished("stop"), "end_turn", None),
        (Finished("stop", "END"), "stop_sequence", "END"),
        (Finished("length"), "max_tokens", None),
    ],
)
def test_why_it_ended(finished: Finished, reason: str, text: str | None) -> None:
    answer = whole(anthropic, parse(), [*TURN[:5], finished, TURN[-1]])
    assert (answer["stop_reason"], answer["stop_sequence"]) == (reason, text)


def test_results_of_tools_become_messages_and_their_images_follow() -> None:
    found = messages(
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [
                    {"type": "text", "text": "Seen"}, PICTURE]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
                {"type": "text", "text": "So?"},
            ],
        },
    )  # fmt: skip
    said, seen, failed, asked = found
    assert (said.content, said.reasoning) == ("I look.", "Hm.")
    assert said.tool_calls == [ToolCallRecord("t1", "look", '{"at":1}')]
    assert (seen.role, seen.content, seen.tool_call_id) == ("tool", "Seen", "t1")
    assert failed.content == "Error: no"
    picture, text = asked.content
    assert isinstance(picture, ImagePart) and text == TextPart("So?")


def test_system_blocks_and_documents_are_text() -> None:
    document = {
        "type": "document",
        "title": "Rain",
        "source": {"type": "text", "media_type": "text/plain", "data": "It rains."},
    }
    found = messages(
        {"role": "user", "content": [document, {"type": "text", "text": " Why?"}]},
        system=[{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
    )
    assert found == [Message("system", "A\nB"), Message("user", "Rain\nIt rains. Why?")]


def test_tool_choices_have_our_words() -> None:
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    for choice, wanted in [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, "look"),
    ]:
        assert parse(tools=tools, tool_choice=choice).request.tool_choice == wanted
    alone = {"type": "auto", "disable_parallel_tool_use": True}
    assert not parse(tools=tools, tool_choice=alone).request.parallel_tool_calls


def test_what_cannot_be_read_is_refused_by_name() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "data": "x"}}
    with pytest.raises(Unsupported) as caught:
        messages({"role": "user", "content": [pdf]})
    assert caught.value.param == "messages[0].content[0].source.type"
    with pytest.raises(BadRequest):
        messages({"role": "user", "content": [{**PICTURE, "source": {"type": "base64"}}]})


def test_errors_have_anthropics_words_and_statuses() -> None:
    status, body = anthropic.error(QueueFull())
    assert (status, json.loads(body)["error"]["type"]) == (529, "overloaded_error")
    status, body = anthropic.error(TimedOut())
    assert (status, json.loads(body)["error"]["type"]) == (504, "timeout_error")
    frame = anthropic.encoder(parse()).fail(TimedOut())
    assert frame.startswith(b"event: error\n")
