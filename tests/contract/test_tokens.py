"""Texts and tokens, both ways."""

import pytest

from tests.live import LiveServer

pytestmark = pytest.mark.model


def test_a_text_is_cut_and_put_together_again(server: LiveServer) -> None:
    status, cut = server.send("POST", "/v1/tokenize", {"model": "tiny-text", "text": "The import"})
    assert status == 200 and cut["count"] == len(cut["tokens"]) == len(cut["pieces"])
    assert "".join(cut["pieces"]) == "The import"
    body = {"model": "tiny-text", "tokens": cut["tokens"]}
    assert server.send("POST", "/detokenize", body)[1]["text"] == "The import"


def test_messages_are_counted_as_a_chat_counts_them(server: LiveServer) -> None:
    chat = {"model": "tiny-text", "messages": [{"role": "user", "content": "Hi"}]}
    cut = server.send("POST", "/tokenize", chat)[1]
    answer = server.send("POST", "/v1/chat/completions", {**chat, "max_tokens": 1})[1]
    assert cut["count"] == answer["usage"]["prompt_tokens"]
    assert "".join(cut["pieces"]).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("/v1/tokenize", {}, "text"),
        ("/v1/tokenize", {"text": "a", "prompt": "b"}, "text"),
        ("/v1/detokenize", {"tokens": [-1]}, "tokens"),
        ("/v1/detokenize", {"tokens": "x"}, "tokens"),
    ],
)
def test_a_bad_field_is_named(
    server: LiveServer, path: str, change: dict[str, object], param: str
) -> None:
    status, body = server.send("POST", path, {"model": "tiny-text", **change})
    assert (status, body["error"]["param"]) == (400, param)
