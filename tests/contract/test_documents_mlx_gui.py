"""MLX-GUI's document, example by example: sent as documented, answered as documented."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.wire import native_text
from tests.contract.documented import differences
from tests.hub import Hub
from tests.live import LiveServer
from tests.models_app.conftest import hub_models

pytestmark = pytest.mark.model

TIME = "2025-01-04T10:30:00"
LISTED = {
    "id": 1, "name": "llama-3.2-3b-instruct", "type": "text", "status": "loaded",
    "memory_required_gb": 8, "use_count": 15, "last_used_at": TIME, "created_at": TIME,
}  # fmt: skip
MANAGER = {
    "loaded_models_count": 1, "max_concurrent_models": 3, "queue_size": 0,
    "total_model_memory_gb": 8.5, "memory_usage_percent": 26.6, "auto_unload_enabled": True,
    "inactivity_timeout_minutes": 30,
}  # fmt: skip
SYSTEM = {
    "platform": "Darwin", "architecture": "arm64", "processor": "Apple M2 Pro",
    "is_apple_silicon": True, "mlx_compatible": True,
    "memory": {"total_gb": 32.0, "available_gb": 18.5, "used_gb": 13.5, "percent_used": 42.2},
    "gpu_memory": {"total_gb": 9.6, "available_gb": 9.6, "device_name": "Apple M2 Pro"},
}  # fmt: skip
HUB_MODEL = {
    "id": "mlx-community/Llama-3.2-3B-Instruct-4bit", "name": "Llama-3.2-3B-Instruct-4bit",
    "author": "mlx-community", "downloads": 12543, "likes": 89, "model_type": "text",
    "size_gb": 2.1, "estimated_memory_gb": 2.5, "mlx_compatible": True, "has_mlx_version": True,
    "mlx_repo_id": None, "tags": ["mlx", "llama"], "description": "Llama 3.2 3B",
    "updated_at": TIME,
}  # fmt: skip
SETTINGS = {
    "server_port": 8000, "max_concurrent_requests": 5, "auto_unload_inactive_models": True,
    "model_inactivity_timeout_minutes": 30, "enable_system_tray": True, "log_level": "INFO",
    "huggingface_cache_dir": "", "enable_gpu_acceleration": True, "bind_to_all_interfaces": False,
}  # fmt: skip
GETS: dict[str, Any] = {
    "/": {"name": "MLX-GUI API", "version": "0.1.0", "status": "running"},
    "/health": {"status": "healthy"},
    "/v1/system/status": {
        "status": "running", "system": SYSTEM, "model_manager": MANAGER, "mlx_compatible": True,
    },
    "/v1/models": {
        "models": [LISTED],
        "object": "list",
        "data": [
            {"id": "qwen3-8b-6bit", "object": "model", "created": 1751234567, "owned_by": "mlx-gui",
             "permission": [], "root": "qwen3-8b-6bit", "parent": None}
        ],
    },
    "/v1/models/starter": {
        **LISTED, "path": "/path/to/model", "version": None, "updated_at": TIME,
        "error_message": None, "metadata": {},
    },
    "/v1/models/starter/health": {
        "model": "llama", "status": "loaded", "healthy": True, "last_used": TIME,
    },
    "/v1/discover/models": {"models": [HUB_MODEL], "total": 1},
    "/v1/discover/models?query=llama&limit=5&sort=likes": {"models": [HUB_MODEL], "total": 1},
    "/v1/discover/popular?limit=5": {"models": [HUB_MODEL], "total": 1},
    "/v1/discover/categories": {
        "categories": {
            name: ["mlx-community/Llama-3.2-3B-Instruct-4bit"]
            for name in (
                "Popular Text Models", "Vision Models", "Multimodal Models", "Code Models",
                "Chat Models", "Small Models (< 10GB)", "Large Models (> 50GB)",
            )
        }
    },
    "/v1/discover/compatible?query=llama": {
        "models": [{**HUB_MODEL, "memory_fit": "fits"}], "total": 1,
    },
    "/v1/discover/models/mlx-community/Llama-3.2-3B-Instruct-4bit": {
        **HUB_MODEL, "size_gb": None, "created_at": TIME, "library_name": None,
        "pipeline_tag": None,
        "system_compatible": True, "compatibility_message": "✅ Compatible - 18.5GB available",
    },
    "/v1/manager/status": {
        "loaded_models": {
            "starter": {
                "loaded_at": TIME, "last_used_at": TIME, "memory_usage_gb": 8.5,
                "config": {"model_type": "text-generation", "estimated_memory_gb": 8.5},
            }
        },
        "system_status": MANAGER,
        "queue_status": [None],
    },
    "/v1/manager/models": {"models": [LISTED]},
    "/v1/manager/models/starter/status": {
        "name": "llama", "status": "loaded", "loaded": True, "loaded_at": TIME,
        "last_used_at": TIME, "memory_usage_gb": 8.5, "queue_position": None,
    },
    "/v1/settings": SETTINGS,
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents-home")


@pytest.fixture(scope="module")
def documented(home: Path, text_model: Path) -> Iterator[LiveServer]:
    """A server with the starter model in memory, three others, and a small hub."""
    for name in ("kept", "gone"):
        shutil.copytree(text_model, home / "models" / name)
    with Hub() as hub:
        for name, repository in hub_models().items():
            hub.add(name, **repository)
        with LiveServer(home, text_model, HF_ENDPOINT=hub.url) as live:
            assert live.send("POST", "/v1/models/starter/load")[0] == 200
            yield live


@pytest.mark.parametrize("path", GETS)
def test_what_is_asked_for_is_answered_as_documented(documented: LiveServer, path: str) -> None:
    assert differences(GETS[path], documented.get(path)) == []


def test_text_is_generated_as_documented(documented: LiveServer) -> None:
    asked = {
        "prompt": "Once upon a time", "max_tokens": 10, "temperature": 0.7, "top_p": 0.9,
        "top_k": 0, "repetition_penalty": 1.0, "repetition_context_size": 20, "seed": None,
    }  # fmt: skip
    status, answer = documented.send("POST", "/v1/models/starter/generate", asked)
    usage = {"prompt_tokens": 4, "completion_tokens": 96, "total_tokens": 100}
    timing = {"generation_time_seconds": 2.5, "tokens_per_second": 38.4}
    shape = {"model": "llama", "prompt": "Once", "text": "there", "usage": usage, "timing": timing}
    assert (status, differences(shape, answer)) == (200, [])
    assert answer["prompt"] == asked["prompt"]
    assert answer["usage"]["total_tokens"] <= answer["usage"]["prompt_tokens"] + 10


def test_a_chat_is_answered_as_documented(documented: LiveServer) -> None:
    asked = {
        "model": "starter", "messages": [{"role": "user", "content": "Hello, how are you?"}],
        "max_tokens": 100, "temperature": 0.7, "stream": False,
    }  # fmt: skip
    for path in ("/v1/chat/completions", "/chat/completions"):
        status, answer = documented.send("POST", path, asked)
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": ""}
        usage = {"prompt_tokens": 12, "completion_tokens": 88, "total_tokens": 100}
        shape = {
            "id": "", "object": "", "created": 1, "model": "", "choices": [choice], "usage": usage,
        }  # fmt: skip
        assert (status, differences(shape, answer)) == (200, [])
        assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-")


def test_a_stream_has_the_documented_chunks(documented: LiveServer) -> None:
    asked = {
        "model": "starter", "stream": True, "messages": [{"role": "user", "content": "Count to 5"}],
    }  # fmt: skip
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-any-key"}
    answer = documented.ask("/v1/chat/completions", "POST", asked, headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = [line for line in answer.body.decode().split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    choice = {"index": 0, "delta": {}, "finish_reason": None}
    shape = {"id": "", "object": "", "created": 1, "model": "", "choices": [choice]}
    assert [differences(shape, chunk) for chunk in chunks] == [[]] * len(chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_a_setting_is_written_as_documented(documented: LiveServer) -> None:
    path = "/v1/settings/model_inactivity_timeout_minutes"
    answer = documented.send("PUT", path, {"value": 60})
    key = "model_inactivity_timeout_minutes"
    assert answer == (200, {"key": key, "value": 60, "updated": True, "applies": "at once"})
    assert documented.get("/v1/settings")[key] == 60


def test_a_priority_is_taken_as_documented(documented: LiveServer) -> None:
    answer = documented.send("POST", "/v1/manager/models/starter/priority", {"priority": 10})
    shape = {"model": "starter", "priority": 10, "message": "Priority update requested"}
    assert answer[0] == 200 and shape.items() <= answer[1].items()


def test_a_model_is_installed_as_documented(documented: LiveServer) -> None:
    asked = {"model_id": "mlx-community/Llama-3.2-3B-Instruct-4bit", "name": "llama-3b"}
    status, answer = documented.send("POST", "/v1/models/install", asked)
    shape = {"message": "", "model_name": "llama-3b", "model_id": "", "status": ""}
    assert status in (200, 202) and differences(shape, answer) == []
    assert (answer["model_name"], answer["model_id"]) == ("llama-3b", asked["model_id"])


@pytest.mark.parametrize("key", [{"Authorization": "Bearer sk-any"}, {"x-api-key": "sk-any"}, {}])
def test_any_key_will_do_as_documented(documented: LiveServer, key: dict[str, str]) -> None:
    assert documented.ask("/v1/models", headers=key).status == 200


def test_what_is_not_there_is_a_404_with_a_detail(documented: LiveServer) -> None:
    for path in ("/v1/models/invalid-model", "/v1/models/invalid-model/health"):
        answer = documented.ask(path)
        assert answer.status == 404
        assert answer.json()["detail"] == "Model 'invalid-model' not found"


def test_a_model_is_loaded_unloaded_and_deleted_as_documented(documented: LiveServer) -> None:
    name = "Model 'tiny-text'"
    loaded = {"message": f"{name} loaded successfully", "status": "loaded"}
    unloaded = {"message": f"{name} unloaded successfully", "status": "unloaded"}
    assert documented.send("POST", "/v1/models/tiny-text/load?priority=0") == (200, loaded)
    assert documented.send("POST", "/v1/models/tiny-text/unload") == (200, unloaded)
    status, answer = documented.send("DELETE", "/v1/models/tiny-text?remove_files=false")
    shape = {"message": f"{name} deleted successfully", "status": "deleted"}
    assert status == 200 and shape.items() <= answer.items()
    assert isinstance(answer["removed_files"], bool)


@pytest.mark.parametrize("key", SETTINGS)
def test_every_documented_setting_is_written_and_refuses_another_type(
    documented: LiveServer, key: str
) -> None:
    now = documented.get("/v1/settings")[key]
    put = documented.send("PUT", f"/v1/settings/{key}", {"value": now})
    assert put[0] == 200 and {"key": key, "value": now, "updated": True}.items() <= put[1].items()
    status, answer = documented.send("PUT", f"/v1/settings/{key}", {"value": {"no": "such"}})
    assert status == 400 and "value" in answer["detail"]
    assert documented.get("/v1/settings")[key] == now


@pytest.mark.parametrize("sort", ["downloads", "likes", "created", "updated"])
def test_discovery_takes_every_documented_order(documented: LiveServer, sort: str) -> None:
    found = documented.get(f"/v1/discover/models?sort={sort}&limit=20")
    assert len(found["models"]) == found["total"] > 1
    assert documented.get("/v1/discover/compatible?max_memory_gb=0.0001")["models"] == []


def test_what_generate_leaves_out_has_the_documented_defaults(documented: LiveServer) -> None:
    assert native_text.defaults["max_tokens"] == 8192
    path = "/v1/models/starter/generate"
    bare = {"prompt": "Once", "max_tokens": 8}
    spelt = {
        **bare, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0,
        "repetition_context_size": 20, "seed": None,
    }  # fmt: skip
    texts = [documented.send("POST", path, asked)[1]["text"] for asked in (bare, spelt)]
    assert texts[0] == texts[1]


def test_generate_refuses_as_documented(documented: LiveServer) -> None:
    path = "/v1/models/starter/generate"
    wrong: list[dict[str, Any]] = [
        {}, {"prompt": 1}, {"prompt": "x", "max_tokens": 16385}, {"prompt": "x", "max_tokens": 0},
        {"prompt": "x", "temperature": -1}, {"prompt": "x", "top_p": 2},
        {"prompt": "x", "top_k": -1}, {"prompt": "x", "repetition_penalty": -1},
    ]  # fmt: skip
    for asked in wrong:
        status, answer = documented.send("POST", path, asked)
        assert (status, set(answer)) == (400, {"detail"}), asked
    status, answer = documented.send("POST", "/v1/models/none/generate", {"prompt": "x"})
    assert (status, answer) == (404, {"detail": "Model 'none' not found"})


def test_a_text_is_completed_in_openais_shape(documented: LiveServer) -> None:
    asked = {"model": "starter", "prompt": "Once upon a time", "max_tokens": 5}
    status, answer = documented.send("POST", "/v1/completions", asked)
    usage = {"prompt_tokens": 12, "completion_tokens": 88, "total_tokens": 100}
    shape = {
        "id": "", "object": "text_completion", "created": 1, "model": "", "usage": usage,
        "choices": [{"index": 0, "text": "", "finish_reason": ""}],
    }  # fmt: skip
    assert (status, differences(shape, answer)) == (200, [])


def test_deleting_a_model_removes_its_files_unless_told_otherwise(
    documented: LiveServer, home: Path
) -> None:
    """The last two lines of the document's workflow."""
    for name, query, is_there in (("kept", "?remove_files=false", True), ("gone", "", False)):
        status, answer = documented.send("DELETE", f"/v1/models/{name}{query}")
        assert (status, answer["status"]) == (200, "deleted")
        assert answer["removed_files"] is not is_there
        assert (home / "models" / name).exists() is is_there
        assert documented.ask(f"/v1/models/{name}").status == 404
