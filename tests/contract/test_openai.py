"""The official OpenAI client against a live server with the starter model."""

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from tests.live import LiveServer

pytestmark = pytest.mark.model

HOW: list[Any] = [{"role": "user", "content": "How do I start MLX GUI?"}]


def test_a_plain_answer_is_whole_and_its_usage_adds_up(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="starter", messages=HOW, temperature=0)
    choice = answer.choices[0]
    assert "make run" in (choice.message.content or "")
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens > 5 and usage.completion_tokens > 3
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_says_the_same_as_a_plain_answer(client: OpenAI) -> None:
    plain = client.chat.completions.create(model="starter", messages=HOW, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="starter",
            messages=HOW,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == "stop" and not any(reasons[:-1])
    last = chunks[-1]
    assert last.choices == [] and last.usage is not None and plain.usage is not None
    assert last.usage.completion_tokens == plain.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_without_the_option_a_stream_has_no_usage(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="starter", messages=HOW, max_tokens=4, stream=True)
    )
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(NotFoundError) as caught:
            client.chat.completions.create(model="nobody/nothing", messages=HOW, stream=stream)  # type: ignore[call-overload]
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"stop": [""]}, "stop"),
    ({"presence_penalty": 9}, "presence_penalty"),
    ({"logit_bias": {"99999999": 5}}, "logit_bias"),
    ({"logit_bias": {"word": 5}}, "logit_bias"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0]",
    ),
    ({"extra_body": {"top_k": -1}}, "top_k"),
    ({"extra_body": {"adapters": "none-such"}}, "adapters"),
]


@pytest.mark.parametrize(("change", "param"), BAD, ids=[json.dumps(case[0]) for case in BAD])
def test_a_bad_parameter_is_a_bad_request_that_names_it(
    client: OpenAI, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(**{"model": "starter", "messages": HOW, **change})
    assert caught.value.param == param, caught.value.message
    assert caught.value.type == "invalid_request_error"


def test_the_models_are_listed_and_retrieved(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"starter", "tiny-text", "tiny-thinking"} <= set(names)
    model = client.models.retrieve("starter")
    assert (model.id, model.object, model.owned_by) == ("starter", "model", "mlx-gui")
    with pytest.raises(NotFoundError):
        client.models.retrieve("nobody/nothing")


async def test_sixteen_streams_at_once_equal_the_same_requests_alone(
    client: OpenAI, server: LiveServer
) -> None:
    questions = [
        [
            "How do I start MLX GUI?",
            "Where does it keep its data?",
            "Who are you?",
            "What is a worker?",
        ][i % 4]
        + " " * (i // 4)
        for i in range(16)
    ]
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as api:

        async def ask(question: str) -> tuple[str, str | None]:
            text, reason = "", None
            stream = await api.chat.completions.create(
                model="starter",
                messages=[{"role": "user", "content": question}],
                temperature=0,
                max_tokens=60,
                stream=True,
            )
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
            return text, reason

        together = await asyncio.gather(*(ask(question) for question in questions))
        alone = [await ask(question) for question in questions]
    assert together == alone
    assert all(reason in ("stop", "length") and text for text, reason in together)


def test_thinking_comes_apart_from_the_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny-thinking", messages=HOW, max_tokens=30, extra_body={"enable_thinking": True}
    )
    assert answer.choices[0].message.content is not None


def test_the_unprefixed_alias_is_the_same_route(server: LiveServer) -> None:
    body = {"model": "starter", "messages": HOW, "temperature": 0, "max_tokens": 5}
    status, answer = server.send("POST", "/chat/completions", body)
    assert (status, answer["object"]) == (200, "chat.completion")
    assert server.get("/models")["object"] == "list"


def test_errors_have_both_documented_shapes(server: LiveServer) -> None:
    status, body = server.send("POST", "/v1/chat/completions", {"model": "none", "messages": HOW})
    assert status == 404
    assert body["detail"] == body["error"]["message"] == "Model 'none' not found"
    status, body = server.send("GET", "/v1/chat/completions")
    assert status == 405 and "POST" in body["detail"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"messages":' + b"[" * 5000, b'{"temperature": NaN}'],
    ids=["empty", "cut", "list", "text", "not utf-8", "deep", "NaN"],
)
def test_a_body_that_is_no_request_is_a_clear_400(server: LiveServer, raw: bytes) -> None:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(server.url + "/v1/chat/completions", data=raw, method="POST")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    assert json.loads(caught.value.read())["error"]["message"]
