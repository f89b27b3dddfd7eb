"""/v1/responses with the official OpenAI client against a live server."""

import json
import time
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from tests.live import LiveServer

pytestmark = pytest.mark.model

HOW = "How do I start MLX GUI?"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "required": ["city"],
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
    },
}
TRUTH = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
NAMED = {"type": "function", "name": "get_weather"}


class Truth(BaseModel):
    ok: bool


def create(client: OpenAI, **options: Any) -> Any:
    wanted = {"model": "starter", "input": HOW, "temperature": 0, "max_output_tokens": 60}
    return client.responses.create(**{**wanted, **options})


def test_a_plain_answer_is_whole(client: OpenAI) -> None:
    answer = create(client, metadata={"a": "b"}, user="me")
    assert "make run" in answer.output_text
    assert (answer.object, answer.status, answer.model) == ("response", "completed", "starter")
    assert answer.output[0].role == "assistant" and answer.output[0].id.startswith("msg_")
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.metadata == {"a": "b"} and answer.error is None
    assert answer.id.startswith("resp_") and answer._request_id.startswith("req_")


def test_a_stream_has_the_documented_events_in_order(client: OpenAI) -> None:
    events = list(create(client, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert text == final.output_text == create(client).output_text
    assert final.usage.output_tokens > 3 and final.id == events[0].response.id


def test_the_clients_own_stream_gathers_the_response(client: OpenAI) -> None:
    with client.responses.stream(
        model="tiny-text", input="Hi", text_format=Truth, temperature=0, max_output_tokens=90
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_parsed is not None and final.output_parsed.ok in (True, False)


def test_an_answer_cut_short_is_incomplete(client: OpenAI) -> None:
    answer = create(client, max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].status == "incomplete"
    last = list(create(client, max_output_tokens=3, stream=True))[-1]
    assert last.type == "response.incomplete" and last.response.status == "incomplete"


def test_instructions_and_items_make_the_prompt(client: OpenAI, server: LiveServer) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": HOW}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "With make run."}],
        },
        {"role": "user", "content": "And then?"},
    ]
    chat = client.chat.completions.create(
        model="starter",
        temperature=0,
        max_tokens=20,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": HOW},
            {"role": "assistant", "content": "With make run."},
            {"role": "user", "content": "And then?"},
        ],
    )
    answer = create(client, input=items, instructions="Be brief.", max_output_tokens=20)
    assert answer.output_text == chat.choices[0].message.content
    assert answer.usage.input_tokens == chat.usage.prompt_tokens  # type: ignore[union-attr]
    counted = client.responses.input_tokens.count(
        model="starter",
        input=items,  # type: ignore[arg-type]
        instructions="Be brief.",
    )
    assert counted.input_tokens == answer.usage.input_tokens


def test_a_conversation_goes_on_from_what_is_stored(client: OpenAI) -> None:
    first = create(client, max_output_tokens=20)
    second = create(client, input="And?", previous_response_id=first.id, max_output_tokens=5)
    whole = create(
        client,
        input=[
            {"role": "user", "content": HOW},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And?"},
        ],
        max_output_tokens=5,
    )
    assert second.usage.input_tokens == whole.usage.input_tokens
    assert second.output_text == whole.output_text
    third = create(client, input="So?", previous_response_id=second.id, max_output_tokens=2)
    assert third.usage.input_tokens > second.usage.input_tokens
    referred = create(
        client,
        input=[
            {"role": "user", "content": HOW},
            {"type": "item_reference", "id": first.output[0].id},
            {"role": "user", "content": "And?"},
        ],
        max_output_tokens=5,
    )
    assert referred.output_text == second.output_text


def test_responses_are_kept_listed_and_deleted(client: OpenAI) -> None:
    made = create(client, input=[{"role": "user", "content": w} for w in ("one", "two", "three")])
    assert client.responses.retrieve(made.id).output_text == made.output_text
    listed = client.responses.input_items.list(made.id, order="asc", limit=2)
    texts = [item.content[0].text for item in listed.data]  # type: ignore[union-attr]
    assert texts == ["one", "two"] and listed.has_more
    rest = client.responses.input_items.list(made.id, order="asc", after=listed.last_id or "")
    assert [item.content[0].text for item in rest.data] == ["three"]  # type: ignore[union-attr]
    client.responses.delete(made.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(NotFoundError):
            call(made.id)
    with pytest.raises(BadRequestError) as caught:
        create(client, previous_response_id=made.id)
    assert caught.value.param == "previous_response_id"


def test_what_is_not_to_be_stored_is_not(client: OpenAI) -> None:
    made = create(client, store=False, max_output_tokens=2)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(made.id)


def test_a_streamed_response_is_stored_before_it_completes(client: OpenAI) -> None:
    for event in create(client, stream=True, max_output_tokens=8):
        if event.type == "response.incomplete":
            assert client.responses.retrieve(event.response.id).status == "incomplete"
            break
    else:
        pytest.fail("it never ended")


def test_a_function_is_called_and_its_output_goes_back(client: OpenAI) -> None:
    options = {"model": "tiny-text", "tools": [WEATHER], "max_output_tokens": 200}
    answer = create(client, input="Hi", tool_choice=NAMED, **options)
    (call,) = (item for item in answer.output if item.type == "function_call")
    assert call.name == "get_weather" and call.status == "completed"
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}
    options["max_output_tokens"] = 4
    more = create(client, input=[output], previous_response_id=answer.id, **options)
    by_hand = create(
        client,
        input=[{"role": "user", "content": "Hi"}, *answer.output, output],
        **options,
    )
    assert more.usage.input_tokens == by_hand.usage.input_tokens > answer.usage.input_tokens


def test_a_functions_arguments_stream(client: OpenAI) -> None:
    options: dict[str, Any] = {"tools": [WEATHER], "tool_choice": NAMED, "stream": True}
    events = list(create(client, model="tiny-text", max_output_tokens=200, **options))
    kinds = [event.type for event in events]
    start = kinds.index("response.function_call_arguments.delta")
    assert kinds[start - 1] == "response.output_item.added"
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    done = next(e for e in events if e.type == "response.function_call_arguments.done")
    assert "".join(pieces) == done.arguments
    with client.responses.stream(
        model="tiny-text",
        input="Hi",
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice=NAMED,  # type: ignore[arg-type]
        max_output_tokens=200,
    ) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output[-1].type == "function_call"


@pytest.mark.parametrize("summary", [None, "auto"])
def test_thoughts_are_items_of_their_own(client: OpenAI, summary: str | None) -> None:
    asked: dict[str, Any] = {
        "model": "tiny-thinking",
        "temperature": 1,
        "max_output_tokens": 120,
        "reasoning": {"effort": "low", "summary": summary},
        "extra_body": {"thinking_budget": 8, "seed": 4},
        "include": ["reasoning.encrypted_content"],
    }
    form = {"type": "json_schema", "name": "truth", "schema": TRUTH, "strict": True}
    asked["text"] = {"format": form}
    answer = create(client, **asked)
    assert {item.type for item in answer.output} <= {"reasoning", "message"}
    for item in answer.output:
        if item.type == "reasoning":
            assert item.encrypted_content and bool(item.summary) == bool(summary)
    with client.responses.stream(
        **asked,  # type: ignore[arg-type]
        input="Hi",
    ) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output
    again = [{"role": "user", "content": "Hi"}, *answer.output, {"role": "user", "content": "So?"}]
    assert create(client, model="tiny-thinking", input=again, max_output_tokens=2).output


def test_logprobs_come_where_they_are_asked_for(client: OpenAI) -> None:
    answer = create(client, top_logprobs=2, max_output_tokens=4)
    probs = answer.output[0].content[0].logprobs
    assert len(probs) == 4 and all(len(prob.top_logprobs) == 2 for prob in probs)
    events = create(
        client, include=["message.output_text.logprobs"], max_output_tokens=4, stream=True
    )
    deltas = [event.logprobs for event in events if event.type == "response.output_text.delta"]
    assert sum(map(len, deltas)) == 4


def test_a_response_in_the_background_is_asked_for_by_its_id(client: OpenAI) -> None:
    made = create(client, background=True)
    assert made.status == "queued"
    until = time.monotonic() + 20
    while (now := client.responses.retrieve(made.id)).status in ("queued", "in_progress"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert now.status == "completed" and "make run" in now.output_text


def test_a_response_in_the_background_can_be_cancelled(client: OpenAI) -> None:
    made = create(
        client,
        model="tiny-text",
        background=True,
        max_output_tokens=3000,
        extra_body={"temperature": 1.5},
    )
    cancelled = client.responses.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"
    plain = create(client, max_output_tokens=2)
    with pytest.raises(BadRequestError):
        client.responses.cancel(plain.id)


def test_a_response_in_the_background_streams_and_can_be_taken_up_again(client: OpenAI) -> None:
    with create(client, background=True, stream=True) as stream:
        first = [next(stream) for _ in range(4)]  # and the client goes away
    assert [event.type for event in first[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert first[0].response.status == "queued"
    id = first[0].response.id
    after = first[-1].sequence_number
    rest = list(client.responses.retrieve(id, stream=True, starting_after=after))
    numbers = [event.sequence_number for event in (*first, *rest)]
    assert numbers == list(range(len(numbers))) and rest[-1].type == "response.completed"
    assert "make run" in rest[-1].response.output_text
    again = list(client.responses.retrieve(id, stream=True))
    assert [event.type for event in again] == [event.type for event in (*first, *rest)]
    assert client.responses.retrieve(id).output_text == rest[-1].response.output_text
    plain = create(client, max_output_tokens=2)
    for given, param in (({}, "stream"), ({"starting_after": -1}, "starting_after")):
        with pytest.raises(BadRequestError) as caught:
            client.responses.retrieve(plain.id, stream=True, **given)
        assert caught.value.param == param


def test_a_background_stream_that_is_cancelled_or_refused_ends(client: OpenAI) -> None:
    options: dict[str, Any] = {"background": True, "stream": True}
    with create(client, model="tiny-text", max_output_tokens=3000, **options) as stream:
        id = next(stream).response.id
        client.responses.cancel(id)
        assert "response.completed" not in [event.type for event in stream]
    assert client.responses.retrieve(id).status == "cancelled"
    turns = [{"role": "user", "content": "many words " * 3000}]
    last = list(create(client, input=turns, **options))[-1]
    assert last.type == "response.failed" and last.response.error.message


def test_custom_tools_and_what_they_were_given_are_part_of_the_conversation(client: OpenAI) -> None:
    tool = {"type": "custom", "name": "note", "description": "Write it down"}
    asked: dict[str, Any] = {"model": "tiny-text", "tools": [tool], "max_output_tokens": 2}
    call = {"type": "custom_tool_call", "call_id": "c1", "name": "note", "input": "a\nb"}
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "Kept"}
    question = {"role": "user", "content": "Hi"}
    first = create(client, **asked, input=[question, call, output])
    assert first.tools[0].type == "custom"
    listed = client.responses.input_items.list(first.id, order="asc").data
    assert [item.type for item in listed] == ["message", call["type"], output["type"]]
    more = create(client, **asked, input="And?", previous_response_id=first.id)
    plain = create(client, **asked, input=[question])
    counts = [answer.usage.input_tokens for answer in (plain, first, more)]
    assert counts == sorted(set(counts))


def test_too_long_a_conversation_is_cut_only_where_that_is_asked_for(client: OpenAI) -> None:
    turns = [{"role": "user", "content": f"{i} " * 200} for i in range(100, 130)]
    with pytest.raises(BadRequestError) as caught:
        create(client, input=turns, max_output_tokens=2)
    assert caught.value.code == "context_length_exceeded"
    answer = create(client, input=turns, max_output_tokens=2, truncation="auto")
    assert answer.usage.output_tokens == 2


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -1}, "temperature"),
    ({"input": []}, "input"),
    ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
    ({"input": [{"content": "x"}]}, "input[0].role"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"background": True, "store": False}, "store"),
    ({"include": ["everything"]}, "include[0]"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
]


@pytest.mark.parametrize(("change", "param"), BAD, ids=[json.dumps(case[0]) for case in BAD])
def test_a_bad_field_is_named(client: OpenAI, change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, **change)
    assert (caught.value.param or "").startswith(param.removesuffix("[0]")), caught.value.message


def test_the_unprefixed_alias_and_wrong_methods(server: LiveServer) -> None:
    body = {"model": "starter", "input": "Hi", "max_output_tokens": 2, "colour": 1}
    answer = server.ask("/responses", "POST", body)
    assert answer.status == 200 and "colour" in answer.headers["Warnings"]
    assert server.get(f"/responses/{answer.json()['id']}")["status"] == "incomplete"
    assert server.send("PUT", "/v1/responses", {})[0] == 405
