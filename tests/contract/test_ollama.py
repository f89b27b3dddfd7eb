"""The official Ollama client against a live server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ollama import Client, ResponseError

from tests.hub import Hub
from tests.live import LiveServer
from tests.models_app.test_downloads import NAME, repository
from tests.tiny_senses import make_embedder

pytestmark = pytest.mark.model

HOW = [{"role": "user", "content": "How do I start MLX GUI?"}]
HI = [{"role": "user", "content": "Hi"}]
COLD = {"temperature": 0, "num_predict": 60}
TRUTH = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
        },
    },
}


@pytest.fixture(scope="module")
def llama(server: LiveServer) -> Iterator[Client]:
    with Client(host=server.url) as made:
        yield made


def test_a_chat_is_answered_whole_and_line_by_line(llama: Client) -> None:
    whole = llama.chat("starter", HOW, options=COLD)
    assert "make run" in (whole.message.content or "")
    assert whole.done and whole.done_reason == "stop" and whole.model == "starter"
    lines = list(llama.chat("starter:latest", HOW, options=COLD, stream=True))
    assert "".join(line.message.content or "" for line in lines) == whole.message.content
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    last = lines[-1]
    assert last.eval_count == whole.eval_count and (last.prompt_eval_count or 0) > 5
    for found in (whole, last):
        parts = (found.load_duration, found.prompt_eval_duration, found.eval_duration)
        assert all(part is not None and part >= 0 for part in parts)
        assert sum(part or 0 for part in parts) <= (found.total_duration or 0) + 1000


def test_streaming_is_what_happens_without_a_word_about_it(server: LiveServer) -> None:
    body = {"model": "starter", "messages": HOW, "options": {"num_predict": 3}}
    answer = server.ask("/api/chat", "POST", body)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert len(lines) > 1 and lines[-1]["done_reason"] == "length"


def test_a_prompt_goes_through_the_chat_template_unless_it_is_raw(llama: Client) -> None:
    question = HOW[0]["content"]
    chat = llama.chat("starter", HOW, options=COLD).message.content
    assert llama.generate("starter", question, options=COLD).response == chat
    told = llama.generate("starter", question, system="Be brief.", options=COLD)
    assert (told.prompt_eval_count or 0) > 5
    raw = llama.generate("tiny-text", "The import", raw=True, options=COLD)
    assert raw.prompt_eval_count == 3 or (raw.prompt_eval_count or 0) < 8
    text = "".join(
        line.response or ""
        for line in llama.generate("tiny-text", "The import", raw=True, options=COLD, stream=True)
    )
    assert text == raw.response


def test_formats_hold(llama: Client) -> None:
    for name in ("tiny-text", "tiny-thinking"):
        options = {"num_predict": 90, "seed": 1}
        made = llama.chat(name, HI, format=TRUTH, options=options, think=False)
        assert json.loads(made.message.content or "")["ok"] in (True, False)


def test_a_tools_result_goes_back(llama: Client) -> None:
    call = {"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    messages = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Rain", "tool_name": "get_weather"},
    ]
    more = llama.chat("tiny-text", messages, tools=[WEATHER], options={"num_predict": 3})
    assert more.eval_count == 3


def test_logprobs_come_where_they_are_asked_for(llama: Client) -> None:
    found = llama.chat("starter", HOW, options={"num_predict": 4}, logprobs=True, top_logprobs=2)
    assert found.logprobs is not None and len(found.logprobs) == 4
    assert all(len(one.top_logprobs or []) == 2 for one in found.logprobs)


def test_models_are_listed_shown_loaded_and_unloaded(llama: Client, server: LiveServer) -> None:
    listed = {one.model: one for one in llama.list().models}
    assert {"starter", "tiny-text", "tiny-thinking"} <= set(listed)
    assert listed["tiny-text"].size and listed["tiny-text"].digest
    shown = llama.show("tiny-thinking")
    assert shown.capabilities == ["completion", "tools", "thinking"]
    assert shown.modelinfo is not None and shown.modelinfo["qwen3.context_length"] == 4096
    assert "<|im_start|>" in (shown.template or "")
    assert llama.generate("tiny-thinking", keep_alive="10m").done_reason == "load"
    running = {one.model: one for one in llama.ps().models}
    assert running["tiny-thinking"].expires_at is not None
    assert llama.chat("tiny-thinking", [], keep_alive=0).done_reason == "unload"
    assert "tiny-thinking" not in {one.model for one in llama.ps().models}
    numbers = server.get("/api/version")["version"].split(".")
    assert [int(number) for number in numbers] >= [0, 6, 4]


def test_what_is_unknown_is_not_found_and_says_so(llama: Client, server: LiveServer) -> None:
    for call in (
        lambda: llama.chat("none", HI),
        lambda: llama.show("none"),
        lambda: llama.delete("none"),
        lambda: llama.generate("none", "x", stream=False),
    ):
        with pytest.raises(ResponseError) as caught:
            call()
        assert caught.value.status_code == 404 and "none" in caught.value.error
    assert server.send("GET", "/api/chat")[0] == 405
    for path in ("copy", "create", "push"):
        status, body = server.send("POST", f"/api/{path}", {"model": "x"})
        assert status == 501 and set(body) == {"error"}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"options": {"temperature": -1}}, "options.temperature"),
    ({"options": {"mirostat": 2}}, "options.mirostat"),
    ({"options": {"stop": [""]}}, "options.stop"),
    ({"messages": [{"role": "wizard"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": "x", "images": ["eA=="]}]}, "images"),
    ({"format": "yaml"}, "format"),
    ({"keep_alive": "soon"}, "keep_alive"),
    ({"think": "hard"}, "think"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[json.dumps(case[0]) for case in BAD])
def test_a_bad_field_is_named(server: LiveServer, change: dict[str, Any], named: str) -> None:
    status, body = server.send("POST", "/api/chat", {"model": "starter", "messages": HI, **change})
    assert status == 400 and set(body) == {"error"}
    assert named.replace("[0]", "") in body["error"].replace("[0]", "").replace("[...]", "")


def test_what_has_no_meaning_here_is_listed(server: LiveServer) -> None:
    options = {"num_ctx": 8192, "num_gpu": 1, "frobnicate": 2, "num_predict": 2}
    body = {"model": "starter", "prompt": "Hi", "options": options, "context": [1], "colour": 1}
    answer = server.ask("/api/generate", "POST", {**body, "stream": False})
    assert answer.status == 200
    for name in ("num_ctx", "num_gpu", "frobnicate", "context", "colour"):
        assert name in answer.headers["Warnings"]


def test_a_template_is_refused(llama: Client) -> None:
    with pytest.raises(ResponseError) as caught:
        llama.generate("starter", "x", template="{{ .Prompt }}")
    assert caught.value.status_code == 400 and "template" in caught.value.error


def test_a_repository_is_pulled_run_and_deleted(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.add(NAME, repository())
        cache = str(tmp_path / "cache")
        with (
            LiveServer(tmp_path / "home", HF_ENDPOINT=hub.url, HF_HUB_CACHE=cache) as live,
            Client(host=live.url) as llama,
        ):
            lines = list(llama.pull(f"hf.co/{NAME}:latest", stream=True))
            assert lines[0].status == "pulling manifest" and lines[-1].status == "success"
            assert llama.pull(NAME).status == "success"
            name = NAME.partition("/")[2]
            assert name in {one.model for one in llama.list().models}
            llama.delete(name)
            assert name not in {one.model for one in llama.list().models}
            with pytest.raises(ResponseError) as caught:
                llama.pull("llama3")
            assert caught.value.status_code == 400
            with pytest.raises(ResponseError) as caught:
                list(llama.pull("someone/nothing", stream=True))
            assert "someone/nothing" in caught.value.error


def test_texts_become_vectors(tmp_path: Path) -> None:
    folder = make_embedder(tmp_path / "tiny-embedder")
    with LiveServer(tmp_path / "home", folder) as live, Client(host=live.url) as llama:
        name = folder.name
        found = llama.embed(f"{name}:latest", ["rain", "sun"])
        one, two = found.embeddings
        assert len(one) == len(two) and sum(x * x for x in one) == pytest.approx(1, abs=1e-3)
        assert (found.prompt_eval_count or 0) > 0
        older = llama.embeddings(name, "rain").embedding
        assert list(older) == pytest.approx(list(one), abs=1e-4)
        with pytest.raises(ResponseError) as caught:
            llama.embed("starter", "rain")
        assert caught.value.status_code == 400 and "embedding model" in caught.value.error
