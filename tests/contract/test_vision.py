"""Pictures in every chat dialect, with the official clients and a live server."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import BadRequestError, OpenAI

from tests.live import LiveServer
from tests.tiny_senses import contained
from tests.tiny_vision import picture

pytestmark = pytest.mark.model
PNG = picture(1, 80, 60)
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.fixture(scope="module")
def client(served: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def ask(*urls: str, text: str = "What is this?") -> list[Any]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *images]}]


def said(client: OpenAI, messages: list[Any], **changes: Any) -> Any:
    return client.chat.completions.create(
        model="tiny-vision", messages=messages, temperature=0, max_tokens=8, **changes
    )


def test_a_picture_changes_the_answer_and_is_counted(client: OpenAI) -> None:
    seen, blind = said(client, ask(DATA_URL)), said(client, ask())
    assert seen.choices[0].message.content != blind.choices[0].message.content
    assert seen.usage.prompt_tokens == blind.usage.prompt_tokens + 8  # 6 for it, 2 around it
    two = said(client, ask(DATA_URL, DATA_URL))
    assert two.usage.prompt_tokens == blind.usage.prompt_tokens + 16


def test_resize_shape_makes_pictures_smaller_and_is_checked(client: OpenAI) -> None:
    plain = said(client, ask(DATA_URL)).usage.prompt_tokens
    small = said(client, ask(DATA_URL), extra_body={"resize_shape": [28]}).usage.prompt_tokens
    assert plain - small == 5
    for wrong in ([], [0], [1, 2, 3], ["a"], 28):
        with pytest.raises(BadRequestError) as caught:
            said(client, ask(DATA_URL), extra_body={"resize_shape": wrong})
        assert str(caught.value.param).startswith("resize_shape")


def test_a_stream_says_the_same(client: OpenAI) -> None:
    whole = said(client, ask(DATA_URL)).choices[0].message.content
    chunks = said(client, ask(DATA_URL), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole


def test_the_responses_api_sees_the_same_picture(client: OpenAI) -> None:
    content: list[Any] = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": DATA_URL, "detail": "auto"},
    ]
    answer = client.responses.create(
        model="tiny-vision",
        input=[{"role": "user", "content": content}],
        temperature=0,
        max_output_tokens=16,
    )
    chat = client.chat.completions.create(
        model="tiny-vision", messages=ask(DATA_URL), temperature=0, max_tokens=16
    )
    assert answer.output_text == chat.choices[0].message.content
    small = client.responses.input_tokens.count(
        model="tiny-vision",
        input=[{"role": "user", "content": content}],
        extra_body={"resize_shape": [28]},
    )
    assert answer.usage is not None and answer.usage.input_tokens - small.input_tokens == 5


def test_anthropics_client_sends_the_same_picture(served: LiveServer, client: OpenAI) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": DATA_URL.partition(",")[2]}
    content: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": source},
    ]
    with Anthropic(base_url=served.url, api_key="any", max_retries=0) as anthropic:
        answer = anthropic.messages.create(
            model="tiny-vision",
            messages=[{"role": "user", "content": content}],
            max_tokens=8,
            extra_body={"temperature": 0},
        )
    chat = said(client, ask(DATA_URL))
    texts = [block.text for block in answer.content if block.type == "text"]
    assert "".join(texts) == chat.choices[0].message.content


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "never read"),
        ("https://example.com/a.png", "allow_remote_images"),
        ("data:image/png;base64,aGVsbG8=", "unknown format"),
        (f"data:image/png;base64,{base64.b64encode(PNG[:200]).decode()}", "cannot be read"),
    ],
)
def test_what_is_no_picture_is_a_400_that_names_its_field(
    url: str, words: str, client: OpenAI
) -> None:
    for stream in (False, True):
        with pytest.raises(BadRequestError, match=words) as caught:
            said(client, ask(url), stream=stream)
        assert str(caught.value.param).startswith("messages[0].content")


def test_remote_images_go_to_public_addresses_only(served: LiveServer, client: OpenAI) -> None:
    served.send("PUT", "/v1/settings/allow_remote_images", {"value": True})
    try:
        with pytest.raises(BadRequestError, match="no public address"):
            said(client, ask(f"{served.url}/static/icon.png"))
    finally:
        served.send("PUT", "/v1/settings/allow_remote_images", {"value": False})


def test_a_text_model_refuses_pictures_before_it_is_loaded(
    served: LiveServer, client: OpenAI
) -> None:
    served.ask("/v1/models/tiny-text/unload", "POST")  # another test may have asked it
    with pytest.raises(BadRequestError, match="sees no images") as caught:
        client.chat.completions.create(model="tiny-text", messages=ask(DATA_URL))
    assert caught.value.param == "messages[0].content"
    rows = {row["name"]: row for row in served.get("/v1/manager/models")["models"]}
    assert rows["tiny-text"]["status"] == "unloaded"


def test_a_model_that_hears_takes_sounds_and_others_refuse_them(client: OpenAI) -> None:
    data = base64.b64encode(contained(1, "webm", "libopus")).decode()
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "webm"}}
    content: list[Any] = [sound, {"type": "text", "text": "What is said?"}]
    messages: list[Any] = [{"role": "user", "content": content}]
    wanted: dict[str, Any] = {"temperature": 0, "max_tokens": 4}
    heard = client.chat.completions.create(model="tiny-hearing", messages=messages, **wanted)
    assert heard.usage is not None and heard.usage.prompt_tokens > 27  # a row for each 40 ms
    answer = client.responses.create(
        model="tiny-hearing", input=messages, temperature=0, max_output_tokens=4
    )
    assert answer.output_text == heard.choices[0].message.content
    with pytest.raises(BadRequestError, match="hears no audio") as caught:
        client.chat.completions.create(model="tiny-text", messages=messages)
    assert caught.value.param == "messages[0].content"


def test_the_model_is_listed_as_one_that_sees(served: LiveServer) -> None:
    rows = {row["id"]: row for row in served.get("/v1/models")["data"]}
    assert "tiny-vision" in rows
    page = served.ask("/chat/")
    while page.status == 302:
        page = served.ask(page.headers["Location"])
    assert b"tiny-vision" in page.body
