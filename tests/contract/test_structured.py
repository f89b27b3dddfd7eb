"""Structured output and tools with the official client: a random model cannot do otherwise."""

import json
import re
from typing import Any

import jsonschema
import pytest
from openai import BadRequestError, OpenAI

pytestmark = pytest.mark.model

HI: list[Any] = [{"role": "user", "content": "Hi"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "age"],
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}


def create(client: OpenAI, model: str = "tiny-text", **options: Any) -> Any:
    wanted = {"model": model, "messages": HI, "max_tokens": 200, "temperature": 1.0, **options}
    return client.chat.completions.create(**wanted)


@pytest.mark.parametrize("model", ["tiny-text", "tiny-thinking"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_enforced_token_by_token(client: OpenAI, model: str, stream: bool) -> None:
    for seed in range(3):
        options = {"response_format": schema_format(SCHEMA), "seed": seed, "stream": stream}
        if model == "tiny-thinking":
            options["extra_body"] = {"thinking_budget": 12}
        answer = create(client, model, **options)
        if stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        else:
            assert answer.choices[0].finish_reason == "stop"
            text = answer.choices[0].message.content
        jsonschema.validate(json.loads(text), SCHEMA)


def test_json_object_regex_and_grammar_are_enforced_too(client: OpenAI) -> None:
    date = create(client, response_format={"type": "regex", "regex": r"[0-9]{4}-[0-9]{2}"})
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}", date.choices[0].message.content)
    word = create(client, response_format={"type": "grammar", "grammar": 'start: "yes" | "no"'})
    assert word.choices[0].message.content in ("yes", "no")


def test_what_cannot_be_enforced_is_refused_by_name(client: OpenAI) -> None:
    bad: list[dict[str, Any]] = [
        schema_format({"type": "array", "uniqueItems": True}),
        schema_format({"type": "nonsense"}),
        {"type": "json_schema"},
        {"type": "regex", "regex": "("},
        {"type": "grammar", "grammar": "start: missing"},
        {"type": "yaml"},
    ]
    for wanted in bad:
        with pytest.raises(BadRequestError) as caught:
            create(client, response_format=wanted)
        assert (caught.value.param or "").startswith("response_format"), wanted


def test_a_required_tool_is_called_and_its_arguments_fit(client: OpenAI) -> None:
    for seed in range(3):
        answer = create(client, tools=[WEATHER, CLOCK], tool_choice="required", seed=seed)
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        for call in choice.message.tool_calls:
            assert call.id and call.function.name in ("get_weather", "get_time")
            arguments = json.loads(call.function.arguments)
            if call.function.name == "get_weather":
                assert arguments["city"] in ("Paris", "Rome")


def test_a_named_tool_is_called_once_also_as_a_stream(client: OpenAI) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    pieces = []
    for chunk in create(client, tools=[WEATHER, CLOCK], tool_choice=named, stream=True, seed=1):
        pieces += chunk.choices[0].delta.tool_calls or []
        reason = chunk.choices[0].finish_reason
    assert reason == "tool_calls"
    assert {piece.index for piece in pieces} == {0}
    assert [piece.function.name for piece in pieces if piece.function.name] == ["get_weather"]
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    assert json.loads(arguments)["city"] in ("Paris", "Rome")


def test_tool_choices_without_sense_are_refused(client: OpenAI) -> None:
    named = {"type": "function", "function": {"name": "no_such"}}
    for options in ({"tools": [WEATHER], "tool_choice": named}, {"tool_choice": "required"}):
        with pytest.raises(BadRequestError) as caught:
            create(client, **options)
        assert caught.value.param == "tool_choice"


def test_tools_for_a_model_that_knows_none_are_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, "starter", tools=[WEATHER])
    assert caught.value.param == "tools"
    answer = create(client, "starter", tools=[WEATHER], tool_choice="none", max_tokens=5)
    assert answer.choices[0].message.tool_calls is None


def test_n_and_logprobs_come_through(client: OpenAI) -> None:
    answer = create(client, n=3, logprobs=True, top_logprobs=2, max_tokens=4, seed=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert len(choice.logprobs.content) == 4
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    chunks = list(create(client, n=2, logprobs=True, max_tokens=4, seed=3, stream=True))
    counted = {0: 0, 1: 0}
    for chunk in chunks:
        for choice in chunk.choices:
            counted[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
    assert counted == {0: 4, 1: 4}
