"""Speculative decoding as a client sees it: the same text, and what came of the guesses."""

from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.live import LiveServer

pytestmark = pytest.mark.model

HI: list[Any] = [{"role": "user", "content": "Tell me of ships"}]


def create(client: OpenAI, **extra: Any) -> Any:
    return client.chat.completions.create(
        model="tiny-text",
        messages=HI,
        max_tokens=80,
        temperature=0,
        extra_body={"ignore_eos": True, **extra},
    )


def test_a_draft_model_guesses_and_the_text_stays_the_same(
    client: OpenAI, server: LiveServer
) -> None:
    plain = create(client)
    assert plain.usage.completion_tokens_details.accepted_prediction_tokens == 0
    drafted = create(client, draft_model="tiny-text", num_draft_tokens=4)
    assert drafted.choices[0].message.content == plain.choices[0].message.content
    details = drafted.usage.completion_tokens_details
    # It is the model itself, so it guesses well; and it is as slow, so it is not asked for long.
    assert details.accepted_prediction_tokens > 4 * details.rejected_prediction_tokens


@pytest.mark.parametrize(
    ("extra", "param", "words"),
    [
        ({"draft_model": "no-such-model"}, "draft_model", "no-such-model"),
        ({"draft_model": "tiny-thinking"}, "draft_model", "another vocabulary"),
        ({"draft_model": "/etc"}, "draft_model", "/etc"),
        ({"draft_model": "tiny-text", "num_draft_tokens": 0}, "num_draft_tokens", ">= 1"),
        ({"draft_model": "tiny-text", "num_draft_tokens": 99}, "num_draft_tokens", "1 to 16"),
    ],
)
def test_what_cannot_draft_is_refused_by_name(
    client: OpenAI, extra: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, **extra)
    assert caught.value.param == param
    assert words in caught.value.message
