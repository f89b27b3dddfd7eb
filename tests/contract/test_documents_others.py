"""The documents of Silicon Studio's engine, of the mlx-lm server and of the mlx-vlm server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.documented import differences
from tests.live import LiveServer

pytestmark = pytest.mark.model

HELLO = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello"},
]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("engine-home"), text_model) as live:
        yield live


@pytest.fixture(scope="module")
def starter(engine: LiveServer) -> str:
    """The model's uuid, which these clients ask by."""
    found = [one for one in engine.get("/api/engine/models") if one["name"] == "starter"]
    return str(found[0]["id"])


def events(body: bytes) -> list[dict[str, Any]]:
    lines = [line for line in body.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines if "[DONE]" not in line]


# -- Silicon Studio -------------------------------------------------------------------------------


def test_models_are_listed_and_loaded_as_documented(engine: LiveServer, starter: str) -> None:
    entry = {"id": "", "name": "", "path": "", "downloaded": True, "is_finetuned": False}
    assert differences([entry], engine.get("/api/engine/models")) == []
    assert isinstance(engine.get("/api/engine/models/adapters"), list)
    asked = {"model_id": "tiny-text", "kv_quantization": 4}
    status, answer = engine.send("POST", "/api/engine/models/load", asked)
    shape = {"status": "loaded", "context_window": 1, "architecture": ""}
    assert (status, differences(shape, answer)) == (200, [])
    model = {
        "id": "", "name": "", "size": "", "path": "", "architecture": "", "context_window": 1,
        "is_vision": False,
    }  # fmt: skip
    assert differences({"model": model}, engine.get("/api/engine/models/active")) == []
    made = engine.get(f"/api/engine/models/{starter}/format")
    shape = {"model_type": "", "has_chat_template": True}
    assert differences(shape, made) == []
    assert {"eos_token", "bos_token", "pad_token"} <= set(made)


def test_a_chat_is_streamed_as_documented(engine: LiveServer, starter: str) -> None:
    asked = {
        "model_id": starter, "messages": HELLO, "temperature": 0.7, "max_tokens": 512,
        "top_p": 0.9, "repetition_penalty": 1.1, "seed": None,
    }  # fmt: skip
    answer = engine.ask("/api/engine/chat", "POST", asked, JSON)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found = events(answer.body)
    assert [differences({"text": "", "done": False}, one) for one in found] == [[]] * len(found)
    assert [one["done"] for one in found] == [False] * (len(found) - 1) + [True]
    assert "".join(one["text"] for one in found)


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"max_tokens": 32769}, {"temperature": -0.1}, {"temperature": 2.1}]
)
def test_the_documented_ranges_hold(engine: LiveServer, starter: str, wrong: Any) -> None:
    asked = {"model_id": starter, "messages": HELLO, **wrong}
    status, answer = engine.send("POST", "/api/engine/chat", asked)
    assert status == 400 and next(iter(wrong)) in answer["detail"]


def test_a_picture_for_a_text_model_is_a_warning(engine: LiveServer, starter: str) -> None:
    parts = [
        {"type": "text", "text": "Describe this image"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    asked = {"model_id": starter, "messages": [{"role": "user", "content": parts}]}
    found = events(engine.ask("/api/engine/chat", "POST", asked, JSON).body)
    assert any(one.get("warning") for one in found if not one["done"])
    assert found[-1]["done"]


def test_stop_predict_and_unload_answer_as_documented(engine: LiveServer, starter: str) -> None:
    assert engine.send("POST", "/api/engine/chat/stop") == (200, {"status": "stopped"})
    asked = {"model_id": starter, "prompt": "def hello(", "max_tokens": 50}
    status, answer = engine.send("POST", "/api/engine/predict", asked)
    assert status == 200 and isinstance(answer["text"], str)
    assert engine.send("POST", "/api/engine/models/unload")[0] == 200
    assert engine.get("/api/engine/models/active") == {"model": None}


def test_folders_are_registered_scanned_and_deleted_as_documented(
    engine: LiveServer, text_model: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(text_model, tmp_path / "models" / "somewhere")
    asked = {"name": "My Model", "path": str(mine), "url": "https://huggingface.co/x/y"}
    status, answer = engine.send("POST", "/api/engine/models/register", asked)
    assert (status, answer[0]["name"]) == (200, "My Model")
    found = engine.send("POST", "/api/engine/models/scan", {"path": str(mine.parent)})
    assert (found[0], [one["name"] for one in found[1]]) == (200, ["My Model"])
    status, gone = engine.send("POST", "/api/engine/models/delete", {"model_id": answer[0]["id"]})
    assert (status, gone["status"]) == (200, "deleted")


# -- mlx-lm's server ------------------------------------------------------------------------------


def test_the_documented_request_of_the_mlx_lm_server_is_answered(engine: LiveServer) -> None:
    """Without a model: the first that can chat."""
    asked = {
        "messages": [{"role": "user", "content": "Say this is a test!"}], "temperature": 0.7,
        "max_tokens": 20,
    }  # fmt: skip
    status, answer = engine.send("POST", "/v1/chat/completions", asked)
    assert status == 200, answer
    assert isinstance(answer["choices"][0]["message"]["content"], str)


def test_every_documented_field_of_the_mlx_lm_server_is_taken(engine: LiveServer) -> None:
    asked = {
        "model": "starter", "messages": HELLO, "stop": ["zzz"], "max_tokens": 4, "stream": False,
        "temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0, "repetition_context_size": 20,
        "logit_bias": {"5": -1.0}, "logprobs": 3,
    }  # fmt: skip
    status, answer = engine.send("POST", "/v1/chat/completions", asked)
    assert status == 200, answer
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in tokens] == [3] * len(tokens)
    mapped = {"role_mapping": {"user": "U: ", "assistant": "A: "}}
    status, answer = engine.send("POST", "/v1/chat/completions", {**asked, **mapped})
    assert status == 400 and "role_mapping" in answer["detail"]  # its template writes the roles
    for path in ("/v1/models", "/models"):
        assert differences([{"id": "", "created": 1}], engine.get(path)["data"]) == []


# -- mlx-vlm's server -----------------------------------------------------------------------------

VLM_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_every_documented_field_of_the_mlx_vlm_server_is_taken(engine: LiveServer) -> None:
    asked = {
        "model": "starter", "messages": HELLO, "max_tokens": 4, "stream": False,
        "temperature": 0.0, "top_p": 1.0, "top_k": 5, "min_p": 0.01, "repetition_penalty": 1.1,
        "seed": 1, "enable_thinking": False,
    }  # fmt: skip
    for path in ("/v1/chat/completions", "/chat/completions"):
        status, answer = engine.send("POST", path, asked)
        assert status == 200, answer


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
def test_responses_come_as_documented(engine: LiveServer, path: str) -> None:
    asked = {"model": "starter", "input": HELLO, "max_output_tokens": 20, "temperature": 0.0}
    status, answer = engine.send("POST", path, {**asked, "top_p": 1.0})
    shape = {
        "id": "", "object": "response", "status": "", "model": "", "output": [{"type": ""}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    assert (status, differences(shape, answer)) == (200, [])
    body = engine.ask(path, "POST", {**asked, "max_output_tokens": 200, "stream": True}, JSON).body
    kinds = [one["type"] for one in events(body)]
    assert list(dict.fromkeys(kinds)) == VLM_EVENTS
    assert events(body)[-1]["response"]["usage"]["output_tokens"] > 0


def test_health_and_unload_answer_as_documented(engine: LiveServer) -> None:
    engine.send("POST", "/v1/models/starter/load")
    health = engine.get("/health")
    assert (health["status"], health["loaded_model"]) == ("healthy", "starter")
    assert health["loaded_adapter"] is None
    status, answer = engine.send("POST", "/unload")
    assert (status, answer["status"]) == (200, "success")
    assert engine.send("POST", "/unload")[1]["status"] == "no_model_loaded"
    assert engine.get("/health")["loaded_model"] is None
