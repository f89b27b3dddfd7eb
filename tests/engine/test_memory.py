from pathlib import Path

import pytest

from mlxgui.engine import memory
from mlxgui.engine.memory import GIB, MIB

LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}


@pytest.mark.parametrize(
    ("config", "bytes_per_token"),
    [
        (LLAMA_8B, 32 * 8 * 128 * 2 * 2),
        ({**LLAMA_8B, "head_dim": 64}, 32 * 8 * 64 * 2 * 2),
        ({"text_config": LLAMA_8B, "vision_config": {}}, 32 * 8 * 128 * 2 * 2),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 12 * 12 * 64 * 2 * 2),
        ({**LLAMA_8B, "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 32 * 576 * 2),
        ({}, 0),
        ({"num_hidden_layers": "many", "hidden_size": True}, 0),
    ],
)
def test_kv_cache_per_token_follows_the_config(config: dict, bytes_per_token: int) -> None:  # type: ignore[type-arg]
    assert memory.kv_bytes_per_token(config) == bytes_per_token


def test_a_model_needs_weights_and_kv_and_its_process(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1000)
    (tmp_path / "notes.txt").write_bytes(b"\0" * 999)
    assert memory.weights_bytes(tmp_path) == 1000
    per_token = memory.kv_bytes_per_token(LLAMA_8B)
    small = memory.needed_bytes(tmp_path, LLAMA_8B, 100)
    assert small == 1050 + 100 * per_token + memory.PROCESS_BYTES
    # A context of a million tokens is not planned for: few conversations are that long.
    large = memory.needed_bytes(tmp_path, LLAMA_8B, 1_000_000)
    assert large == 1050 + memory.PLANNED_CONTEXT_TOKENS * per_token + memory.PROCESS_BYTES


@pytest.mark.parametrize(
    ("total", "metal", "usable"),
    [
        (32 * GIB, None, 28 * GIB),
        (8 * GIB, None, 6 * GIB),
        (32 * GIB, 24 * GIB, 24 * GIB),
        (32 * GIB, 31 * GIB, 28 * GIB),
    ],
)
def test_the_system_keeps_its_share(total: int, metal: int | None, usable: int) -> None:
    assert memory.usable_bytes(total, metal) == usable


def test_metals_limit_is_apples_share_unless_a_person_set_it() -> None:
    assert memory.metal_limit_bytes(32 * GIB, 0) == 24 * GIB
    assert memory.metal_limit_bytes(32 * GIB, 28_000) == 28_000 * MIB


@pytest.mark.parametrize("apple", [True, False])
def test_this_machine_is_described_on_both_sides_of_the_seam(
    monkeypatch: pytest.MonkeyPatch, apple: bool
) -> None:
    monkeypatch.setattr(memory, "is_apple_silicon", lambda: apple)
    machine = memory.machine_memory()
    assert machine.unified is apple
    assert 0 < machine.usable_bytes < machine.total_bytes
    assert machine.available_bytes <= machine.total_bytes
    assert machine.device_name
