"""/v1/completions with the official OpenAI client against a live server."""

import json
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.live import LiveServer

pytestmark = pytest.mark.model


def create(client: OpenAI, **options: Any) -> Any:
    wanted = {"model": "tiny-text", "prompt": "The import", "temperature": 0, "max_tokens": 6}
    return client.completions.create(**{**wanted, **options})


def test_a_prompt_goes_on(client: OpenAI) -> None:
    answer = create(client)
    assert (answer.object, answer.model) == ("text_completion", "tiny-text")
    (choice,) = answer.choices
    assert choice.text and (choice.index, choice.finish_reason) == (0, "length")
    assert choice.logprobs is None and answer.usage.completion_tokens == 6
    assert answer.id.startswith("cmpl-")


def test_a_stream_says_the_same(client: OpenAI) -> None:
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == create(client).choices[0].text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 6 and chunks[-1].choices == []


def test_several_prompts_are_answered_side_by_side_prompt_by_prompt(client: OpenAI) -> None:
    prompts = [f"The import {word}" for word in "abcdefghijkl"]
    together = create(client, prompt=prompts)
    assert [choice.index for choice in together.choices] == list(range(12))
    alone = [create(client, prompt=prompt).choices[0].text for prompt in prompts]
    assert [choice.text for choice in together.choices] == alone
    assert together.usage.completion_tokens == 72
    twice = create(client, prompt=prompts[:3], n=2)
    assert [choice.text for choice in twice.choices] == [t for t in alone[:3] for _ in (0, 1)]


def test_several_prompts_stream_with_their_own_indexes(client: OpenAI) -> None:
    texts = {0: "", 1: "", 2: ""}
    for chunk in create(client, prompt=["a", "b", "c"], stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    alone = [create(client, prompt=prompt).choices[0].text for prompt in "abc"]
    assert list(texts.values()) == alone


def test_tokens_are_prompts_too(client: OpenAI, server: LiveServer) -> None:
    body = {"model": "tiny-text", "prompt": "The import"}
    ids = server.send("POST", "/v1/tokenize", body)[1]["tokens"]
    text = create(client).choices[0].text
    assert create(client, prompt=ids).choices[0].text == text
    both = create(client, prompt=[ids, ids]).choices
    assert [choice.text for choice in both] == [text, text]


def test_an_echo_with_logprobs_scores_the_prompt(client: OpenAI) -> None:
    (choice,) = create(client, echo=True, logprobs=2, max_tokens=2).choices
    found = choice.logprobs
    assert "".join(found.tokens) == choice.text and choice.text.startswith("The import")
    assert found.token_logprobs[0] is None and found.top_logprobs[0] is None
    assert all(number <= 0 for number in found.token_logprobs[1:])
    assert all(2 <= len(best) <= 3 for best in found.top_logprobs[1:])
    for offset, token in zip(found.text_offset, found.tokens, strict=True):
        assert choice.text[offset:].startswith(token)
    (read,) = create(client, echo=True, logprobs=0, max_tokens=0).choices
    assert read.text == "The import" and read.finish_reason == "length"
    assert read.logprobs.token_logprobs == found.token_logprobs[: len(read.logprobs.tokens)]
    streamed = list(create(client, echo=True, logprobs=2, max_tokens=2, stream=True))
    pieces = [chunk.choices[0].logprobs for chunk in streamed if chunk.choices[0].logprobs]
    assert [offset for piece in pieces for offset in piece.text_offset] == found.text_offset


def test_stop_strings_end_it(client: OpenAI) -> None:
    text = create(client, max_tokens=12).choices[0].text
    (choice,) = create(client, max_tokens=12, stop=text[4:7]).choices
    assert choice.text == text[: text.index(text[4:7])] and choice.finish_reason == "stop"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": []}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": [999_999]}, "prompt"),
    ({"prompt": ["x"] * 129}, "prompt"),
    ({"suffix": "end"}, "suffix"),
    ({"best_of": 3}, "best_of"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 99}, "logprobs"),
    ({"n": 9}, "n"),
    ({"temperature": -1}, "temperature"),
    ({"stop": [""]}, "stop"),
]


@pytest.mark.parametrize(("change", "param"), BAD, ids=[json.dumps(c[0])[:40] for c in BAD])
def test_a_bad_field_is_named(client: OpenAI, change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, **change)
    assert caught.value.param == param, caught.value.message


def test_one_bad_prompt_among_several_is_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, prompt=["fine", "", "fine"])
    assert caught.value.param == "prompt"


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        create(client, model="none")
