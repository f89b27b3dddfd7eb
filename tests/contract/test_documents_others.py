"""The documents of Silicon Studio's engine, of the mlx-lm server and of the mlx-vlm server."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.contract.documented import differences
from tests.live import LiveServer
from tests.tiny_vision import make_qwen2_vl, picture

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
    """A model with a template, the same without one, an adapter, a model that sees."""
    folder = tmp_path_factory.mktemp("models")
    models = [
        text_model,
        without_template(shutil.copytree(text_model, folder / "bare")),
        make_adapter(folder / "tuned", text_model),
        make_qwen2_vl(folder / "tiny-vision"),
    ]
    home = tmp_path_factory.mktemp("engine-home")
    with LiveServer(home, *models, HF_ENDPOINT="http://127.0.0.1:9") as live:
        live.send("PUT", "/v1/settings/max_concurrent_models", {"value": 6})
        yield live
    live.end_jobs()


def without_template(folder: Path) -> Path:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = folder / "tokenizer_config.json"
    said = json.loads(settings.read_text())
    said.pop("chat_template", None)
    settings.write_text(json.dumps(said))
    return folder


def make_adapter(folder: Path, base: Path) -> Path:
    """Low-rank weights as mlx-lm's training leaves them, large enough to change every text."""
    folder.mkdir()
    size = json.loads((base / "config.json").read_text())
    wide = size["num_attention_heads"] * size["head_dim"]
    random = np.random.default_rng(0)
    name = "model.layers.0.self_attn.q_proj"
    weights = {
        f"{name}.lora_a": random.normal(size=(size["hidden_size"], 4)).astype(np.float32),
        f"{name}.lora_b": random.normal(size=(4, wide)).astype(np.float32),
    }
    save_file(weights, folder / "adapters.safetensors")
    lora = {"rank": 4, "scale": 20.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]}
    said = {"fine_tune_type": "lora", "num_layers": size["num_hidden_layers"]}
    said |= {"lora_parameters": lora, "model": base.name}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder


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


def test_a_picture_is_seen_by_a_model_that_sees(engine: LiveServer) -> None:
    """And more than 20 MB of one is refused, as the document says."""
    parts = [
        {"type": "text", "text": "Describe this image"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    asked = {"model_id": "tiny-vision", "max_tokens": 4}
    asked["messages"] = [{"role": "user", "content": parts}]
    found = events(engine.ask("/api/engine/chat", "POST", asked, JSON).body)
    assert found[-1] == {"text": "", "done": True}
    assert not any("warning" in one or "error" in one for one in found)
    parts[1]["image_url"] = {"url": "data:image/png;base64," + "A" * (28 << 20)}
    status, answer = engine.send("POST", "/api/engine/chat", asked)
    assert status == 400 and "20" in answer["detail"]


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


def test_a_download_is_begun_as_documented(engine: LiveServer) -> None:
    asked = {"model_id": "mlx-community/Qwen3-1.7B-MLX-8bit"}
    answer = engine.send("POST", "/api/engine/models/download", asked)
    assert answer == (200, {"status": "download_started", **asked})
    listed = {one["id"]: one for one in engine.get("/api/engine/models")}
    assert any(asked["model_id"] in str(one.values()) for one in listed.values())


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


def said(engine: LiveServer, **asked: Any) -> str:
    wanted = {"model": "tiny-text", "messages": HELLO, "max_tokens": 12, "temperature": 0, **asked}
    status, answer = engine.send("POST", "/v1/chat/completions", wanted)
    assert status == 200, answer
    return str(answer["choices"][0]["message"]["content"])


def test_fields_of_the_mlx_lm_server_do_what_they_say(engine: LiveServer) -> None:
    plain = said(engine)
    piece = plain[2:6]
    assert said(engine, stop=piece) == said(engine, stop=[piece]) == plain[: plain.index(piece)]
    assert said(engine, repetition_penalty=1.9, repetition_context_size=50) != plain
    drawn = [said(engine, temperature=1.0, top_p=0.9, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    status, answer = engine.send("POST", "/v1/tokenize", {"model": "tiny-text", "text": "zz"})
    token = str(answer["tokens"][0])
    forced = said(engine, logit_bias={token: 100.0}, max_tokens=2)
    assert (
        forced
        == engine.send(
            "POST", "/v1/detokenize", {"model": "tiny-text", "tokens": [int(token)] * 2}
        )[1]["text"]
    )


def test_role_mapping_writes_the_prompt_of_a_model_without_a_template(engine: LiveServer) -> None:
    plain = said(engine, model="bare")
    assert said(engine, model="bare", role_mapping={"user": "Q: ", "assistant": "A: "}) != plain


@pytest.mark.parametrize("field", ["adapters", "adapter_path"])
def test_an_adapter_changes_the_answer(engine: LiveServer, field: str) -> None:
    plain, tuned = said(engine), said(engine, **{field: "tuned"})
    assert tuned != plain and said(engine, **{field: None}) == plain
    assert said(engine, model="tiny-text@tuned") == tuned
    asked = {"model": "tiny-text", "messages": HELLO, field: "no-such-adapter"}
    status, answer = engine.send("POST", "/v1/chat/completions", asked)
    assert (status, answer["error"]["param"]) == (400, field)


@pytest.mark.parametrize("wrong", [-1, 21, "three"])
def test_logprobs_out_of_range_are_refused(engine: LiveServer, wrong: Any) -> None:
    asked = {"model": "starter", "messages": HELLO, "logprobs": wrong, "max_tokens": 2}
    status, answer = engine.send("POST", "/v1/chat/completions", asked)
    assert (status, answer["error"]["param"]) == (400, "logprobs")


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
        "seed": 1, "enable_thinking": False, "thinking_budget": None, "adapter_path": None,
        "resize_shape": None,
    }  # fmt: skip
    for path in ("/v1/chat/completions", "/chat/completions"):
        status, answer = engine.send("POST", path, asked)
        assert status == 200, answer


def test_a_picture_is_resized_as_documented(engine: LiveServer) -> None:
    url = f"data:image/png;base64,{base64.b64encode(picture(1, 80, 60)).decode()}"
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    asked = {"model": "tiny-vision", "max_tokens": 2}
    asked["messages"] = [{"role": "user", "content": parts}]
    counted = []
    for shape in (None, [56, 56], [28]):
        status, answer = engine.send("POST", "/chat/completions", {**asked, "resize_shape": shape})
        assert status == 200, answer
        counted.append(answer["usage"]["prompt_tokens"])
    assert counted[0] > counted[1] > counted[2]


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
def test_responses_come_as_documented(engine: LiveServer, path: str) -> None:
    asked = {"model": "starter", "input": HELLO, "max_output_tokens": 20, "temperature": 0.0}
    status, answer = engine.send("POST", path, {**asked, "top_p": 1.0})
    shape = {
        "id": "", "object": "response", "status": "", "model": "", "output": [{"type": ""}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    assert (status, differences(shape, answer)) == (200, [])
    one = engine.send("POST", path, {**asked, "input": "Hello"})
    assert (one[0], differences(shape, one[1])) == (200, [])
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
    assert isinstance(answer["message"], str)
    assert {"model_name", "adapter_name"} <= set(answer["unloaded"])
    again = engine.send("POST", "/unload")[1]
    assert again["status"] == "no_model_loaded" and isinstance(again["message"], str)
    assert engine.get("/health")["loaded_model"] is None
