"""Silicon Studio's and MLX-GUI's own routes, and /unload, on a live server."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveServer

pytestmark = pytest.mark.model

HOW = [{"role": "user", "content": "How do I start MLX GUI?"}]


def chat(server: LiveServer, **changes: Any) -> list[dict[str, Any]]:
    body = {"model_id": "starter", "messages": HOW, "temperature": 0, **changes}
    answer = server.ask("/api/engine/chat", "POST", body)
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    lines = answer.body.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def quiet(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what is said of the memory of the machine that runs the tests."""
    return [one for one in events if "memory" not in one.get("warning", "")]


def test_a_chat_is_pieces_of_text_and_an_end(server: LiveServer) -> None:
    events = quiet(chat(server))
    assert events[-1] == {"text": "", "done": True}
    assert all(set(event) == {"text", "done"} and not event["done"] for event in events[:-1])
    assert "make run" in "".join(event["text"] for event in events)


def test_an_image_for_a_text_model_is_a_warning(server: LiveServer) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    parts = [
        {"type": "text", "text": HOW[0]["content"]},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    events = quiet(chat(server, messages=[{"role": "user", "content": parts}]))
    warned = [event for event in events if "warning" in event]
    assert len(warned) == 1 and not warned[0]["done"] and "image" in warned[0]["warning"]
    assert "make run" in "".join(event["text"] for event in events)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 32769}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"repetition_penalty": 5.1}, "repetition_penalty"),
        ({"seed": -1}, "seed"),
        ({"messages": []}, "messages"),
    ],
)
def test_the_documented_ranges_hold(server: LiveServer, change: dict[str, Any], named: str) -> None:
    body = {"model_id": "starter", "messages": HOW, **change}
    status, answer = server.send("POST", "/api/engine/chat", body)
    assert status == 400 and set(answer) == {"detail"} and named in answer["detail"]


def test_unknown_models_have_a_status(server: LiveServer) -> None:
    for path, more in (("chat", {"messages": HOW}), ("predict", {"prompt": "x"})):
        status, answer = server.send("POST", f"/api/engine/{path}", {"model_id": "none", **more})
        assert (status, answer) == (404, {"detail": "Model 'none' not found"})


def test_a_chat_can_be_stopped_from_outside(server: LiveServer) -> None:
    """The random model would write thousands of tokens."""
    found: list[dict[str, Any]] = []

    def write() -> None:
        found.extend(chat(server, model_id="tiny-text", max_tokens=3900, temperature=1.5))

    writing = threading.Thread(target=write)
    writing.start()
    until = time.monotonic() + 25
    while not found and writing.is_alive() and time.monotonic() < until:
        time.sleep(0.2)
        assert server.send("POST", "/api/engine/chat/stop")[1] == {"status": "stopped"}
    writing.join(20)
    assert found[-1] == {"text": "", "done": True} and len(found) < 3900


def test_code_is_completed_in_one_piece(server: LiveServer) -> None:
    body = {"model_id": "tiny-text", "prompt": "def hello(", "max_tokens": 9}
    status, answer = server.send("POST", "/api/engine/predict", body)
    assert status == 200 and set(answer) == {"text"} and answer["text"]
    assert server.send("POST", "/api/engine/predict", body)[1] == answer
    assert server.send("POST", "/api/engine/predict", {**body, "max_tokens": 129})[0] == 400


def test_text_is_generated_with_usage_and_timing(server: LiveServer) -> None:
    body = {"prompt": "The import", "max_tokens": 7, "temperature": 0.7, "seed": 1, "colour": 1}
    answer = server.ask("/v1/models/tiny-text/generate", "POST", body)
    found = answer.json()
    assert answer.status == 200 and "colour" in answer.headers["Warnings"]
    assert (found["model"], found["prompt"]) == ("tiny-text", "The import")
    usage = found["usage"]
    assert usage["completion_tokens"] == 7
    assert usage["total_tokens"] == usage["prompt_tokens"] + 7
    assert found["timing"]["generation_time_seconds"] > 0
    assert found["timing"]["tokens_per_second"] > 0


def test_generate_refuses_with_a_detail(server: LiveServer) -> None:
    for body, status in (({}, 400), ({"prompt": "x", "max_tokens": 16385}, 400)):
        got, answer = server.send("POST", "/v1/models/starter/generate", body)
        assert got == status and set(answer) == {"detail"}
    assert server.send("POST", "/v1/models/none/generate", {"prompt": "x"})[0] == 404
    assert server.send("GET", "/v1/models/starter/generate")[0] == 405


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path / "home") as live:
        yield live


def test_unload_takes_every_model_out_of_memory(other: LiveServer) -> None:
    status, nothing = other.send("POST", "/unload")
    assert (status, nothing["status"], "unloaded" in nothing) == (200, "no_model_loaded", False)
    assert other.send("POST", "/v1/models/starter/load")[0] == 200
    done = other.send("POST", "/unload")[1]
    assert done["status"] == "success" and done["unloaded"]["model_name"] == "starter"
    assert done["unloaded"]["adapter_name"] is None and other.get("/health")["loaded_model"] is None
