"""The running server's pool, with real workers of the fake kind."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from huggingface_hub import close_session

from mlxgui.runtime import Runtime, get_runtime
from models_app import discovery
from tests.hub import Hub
from tests.models_app.folders import CONFIG, TEMPLATE, safetensors, tokenizer


@pytest_asyncio.fixture
async def runtime(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    monkeypatch.setattr("mlxgui.runtime._runtime", None)
    made = get_runtime()
    yield made
    await made.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine with a few models, and nothing remembered of others."""
    with Hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name, repository in hub_models().items():
            made.add(name, **repository)
        discovery.kept.forget()
        yield made
        discovery.kept.forget()
        close_session()


def hub_models() -> dict[str, dict[str, Any]]:
    llama = {
        **CONFIG, "model_type": "llama", "num_hidden_layers": 28, "num_key_value_heads": 8,
        "num_attention_heads": 24, "head_dim": 128, "quantization": {"bits": 4, "group_size": 64},
    }  # fmt: skip
    files = {
        "config.json": json.dumps(llama).encode(),
        "tokenizer.json": json.dumps(tokenizer()).encode(),
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}).encode(),
        "README.md": b"---\nlicense: mit\n---\n# Llama\n\nA **model**.\n<script>bad()</script>",
        "model.safetensors": safetensors(),
    }
    return {
        "mlx-community/Llama-3.2-3B-Instruct-4bit": {
            "files": files, "downloads": 12543, "likes": 89, "trending": 3,
            "tags": ("mlx", "llama", "conversational", "4-bit"),
            "parameters": {"U32": 401_604_608, "BF16": 100_597_760},
            "card": {"license": "mit", "base_model": "meta-llama/Llama-3.2-3B-Instruct"},
        },
        "mlx-community/Qwen2-VL-72B-Instruct-8bit": {
            "files": files, "downloads": 900, "trending": 9, "pipeline_tag": "image-text-to-text",
            "tags": ("mlx", "8-bit"), "parameters": {"U32": 18_000_000_000},
        },
        "mlx-community/embedding-small": {
            "files": files, "downloads": 50, "pipeline_tag": "sentence-similarity",
            "parameters": {"BF16": 30_000_000},
        },
        "mlx-community/whisper-tiny": {
            "files": files, "downloads": 40, "pipeline_tag": "automatic-speech-recognition",
        },
        "someone/not-mlx": {"files": files, "tags": ("pytorch",), "downloads": 99999},
    }  # fmt: skip
