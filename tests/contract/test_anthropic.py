"""The official Anthropic client against a live server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic, BadRequestError, NotFoundError

from tests.live import LiveServer

pytestmark = pytest.mark.model

HOW: list[Any] = [{"role": "user", "content": "How do I start MLX GUI?"}]
HI: list[Any] = [{"role": "user", "content": "Hi"}]
COLD = {"temperature": 0}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "required": ["city"],
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
    },
}


@pytest.fixture(scope="module")
def claude(server: LiveServer) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key="any", max_retries=0) as made:
        yield made


def create(claude: Anthropic, **options: Any) -> Any:
    """Newer clients have no argument for the temperature; older ones send it in the body."""
    extra = {"temperature": options.pop("temperature", 0), **options.pop("extra_body", {})}
    wanted = {"model": "starter", "messages": HOW, "max_tokens": 60, **options}
    return claude.messages.create(**wanted, extra_body=extra)


def test_a_plain_answer_is_whole(claude: Anthropic) -> None:
    answer = create(claude)
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", "starter")
    assert "make run" in answer.content[0].text
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    usage = answer.usage
    assert usage.input_tokens + usage.cache_read_input_tokens > 5 and usage.output_tokens > 3
    assert answer.id.startswith("msg_") and answer._request_id.startswith("req_")


def test_a_stream_has_its_events_in_order_and_says_the_same(claude: Anthropic) -> None:
    with claude.messages.stream(
        model="starter", messages=HOW, max_tokens=60, extra_body=COLD
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.content[0].text == create(claude).content[0].text  # type: ignore[union-attr]
    assert final.usage.output_tokens > 3 and final.stop_reason == "end_turn"
    raw = [event.type for event in create(claude, stream=True)]
    assert raw[:2] == ["message_start", "content_block_start"]
    assert raw[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(raw[2:-3]) == {"content_block_delta"} and "text" in kinds


def test_a_ping_follows_the_start(server: LiveServer) -> None:
    body = {"model": "starter", "messages": HOW, "max_tokens": 4, "stream": True}
    answer = server.ask("/v1/messages?beta=true", "POST", body, {"anthropic-version": "2023-06-01"})
    names = [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["request-id"].startswith("req_")


def test_stop_reasons_are_told_apart(claude: Anthropic) -> None:
    assert create(claude, max_tokens=3).stop_reason == "max_tokens"
    stopped = create(claude, stop_sequences=["make"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "make")
    last = list(create(claude, stop_sequences=["make"], stream=True))[-2]
    assert (last.delta.stop_reason, last.delta.stop_sequence) == ("stop_sequence", "make")


def test_a_tool_is_called_and_its_result_goes_back(claude: Anthropic) -> None:
    asked = {
        "model": "tiny-text", "messages": HI, "tools": [WEATHER], "max_tokens": 200,
        "tool_choice": {"type": "tool", "name": "get_weather"},
    }  # fmt: skip
    answer = create(claude, **asked)
    assert answer.stop_reason == "tool_use"
    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.name == "get_weather" and call.input["city"] in ("Paris", "Rome")
    messages = [
        *HI,
        {"role": "assistant", "content": answer.content},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": "Rain"},
                {"type": "text", "text": "So?"},
            ],
        },
    ]
    more = create(claude, model="tiny-text", messages=messages, tools=[WEATHER], max_tokens=5)
    assert more.usage.output_tokens == 5


def test_a_tools_arguments_stream_as_partial_json(claude: Anthropic) -> None:
    with claude.messages.stream(
        model="tiny-text",
        messages=HI,
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        max_tokens=200,
        extra_body=COLD,
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    call = next(block for block in final.content if block.type == "tool_use")
    assert json.loads("".join(pieces)) == call.input and call.input["city"] in ("Paris", "Rome")  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_has_a_block_of_its_own(claude: Anthropic, stream: bool) -> None:
    asked: dict[str, Any] = {
        "model": "tiny-thinking",
        "messages": HI,
        "max_tokens": 40,
        "thinking": {"type": "enabled", "budget_tokens": 8},
    }
    if stream:
        with claude.messages.stream(**asked) as events:
            answer: Any = events.get_final_message()
    else:
        answer = create(claude, **asked)
    assert {block.type for block in answer.content} <= {"thinking", "text"}
    assert answer.usage.output_tokens == 40 or answer.stop_reason == "end_turn"


def test_a_schema_holds(claude: Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = create(claude, model="tiny-text", messages=HI, output_config=config, max_tokens=99)
    assert json.loads(answer.content[0].text)["ok"] in (True, False)


def test_tokens_are_counted_as_the_answer_counts_them(claude: Anthropic) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    counted = claude.messages.count_tokens(model="starter", messages=HOW, system=system)  # type: ignore[arg-type]
    usage = create(claude, system=system, max_tokens=2).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens > 5


def test_a_coding_agents_request_is_accepted(claude: Anthropic) -> None:
    """Many system blocks, marks for the cache, a header that changes, fields of a beta."""
    mark = {"cache_control": {"type": "ephemeral"}}
    header = "x-anthropic-billing-header: cc_version=2.1.63.a43; cc_entrypoint=cli; cch={};"
    for salt in ("00f1d", "aa2c3"):
        answer = create(
            claude,
            model="tiny-text",
            system=[
                {"type": "text", "text": header.format(salt)},
                {"type": "text", "text": "You are an agent. " * 20, **mark},
            ],
            messages=[{"role": "user", "content": [{"type": "text", "text": "Hi", **mark}]}],
            tools=[{**WEATHER, **mark}],
            metadata={"user_id": "me"},
            max_tokens=4,
            extra_body={"context_management": {"edits": []}},
            extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14"},
        )
    assert answer.usage.cache_read_input_tokens > 20


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -1}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0]"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "thinking.budget_tokens"),
    ({"stop_sequences": [""]}, "stop_sequences"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[json.dumps(case[0]) for case in BAD])
def test_a_bad_field_is_named(claude: Anthropic, change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(claude, **change)
    body: Any = caught.value.body
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert named in body["error"]["message"]


def test_unknown_models_and_methods_have_anthropics_shape(
    claude: Anthropic, server: LiveServer
) -> None:
    with pytest.raises(NotFoundError) as caught:
        create(claude, model="none")
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    status, body = server.send("GET", "/v1/messages")
    assert status == 405 and body["type"] == "error"


def test_unknown_fields_are_listed(server: LiveServer) -> None:
    body = {"model": "starter", "messages": HOW, "max_tokens": 2, "colour": "red"}
    answer = server.ask("/messages", "POST", body)
    assert answer.status == 200 and "colour" in answer.headers["Warnings"]
