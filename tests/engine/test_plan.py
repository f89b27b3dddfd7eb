"""The plan: its arithmetic as tables, and against what tiny real models really take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine import plan as planning
from mlxgui.engine.kv import KvShape, kv_shape
from mlxgui.engine.model_files import config_of, weights_bytes, weights_of
from mlxgui.engine.plan import (
    MIB,
    PLANNED_CONTEXT_TOKENS,
    PROCESS_BYTES,
    Plan,
    kv_bytes_per_token,
    largest_context,
    needed_bytes,
    plan_of,
)
from mlxgui.engine.spec import LoadOptions, ModelSpec
from tests import tiny

LLAMA_8B: dict[str, Any] = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
A_TOKEN = 2 * 2 * 128  # keys and values of one head at 16 bits

SHAPES: list[tuple[str, dict[str, Any], KvShape]] = [
    ("full attention", LLAMA_8B, KvShape(32 * 8 * A_TOKEN)),
    ("another width of heads", {**LLAMA_8B, "head_dim": 64}, KvShape(32 * 8 * A_TOKEN // 2)),
    ("inside a model of several senses", {"text_config": LLAMA_8B}, KvShape(32 * 8 * A_TOKEN)),
    ("names of GPT-2", {"n_layer": 12, "n_head": 12, "n_embd": 768}, KvShape(12 * 12 * 256)),
    (
        "multi-head latent attention",
        {**LLAMA_8B, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
        KvShape(32 * 576 * 2),
    ),
    (
        "layers named one by one",
        {**LLAMA_8B, "layer_types": ["sliding_attention", "full_attention"] * 16,
         "sliding_window": 1024},
        KvShape(16 * 8 * A_TOKEN, ((1024, 16 * 8 * A_TOKEN),)),
    ),
    (
        "a window in all layers but every sixth",
        {**LLAMA_8B, "num_hidden_layers": 12, "model_type": "gemma3_text", "sliding_window": 512},
        KvShape(2 * 8 * A_TOKEN, ((512, 10 * 8 * A_TOKEN),)),
    ),
    (
        "a window that is written down and not used",
        {**LLAMA_8B, "sliding_window": 4096},
        KvShape(32 * 8 * A_TOKEN),
    ),
    (
        "last layers that read what earlier ones keep",
        {**LLAMA_8B, "num_kv_shared_layers": 12},
        KvShape(20 * 8 * A_TOKEN),
    ),
    ("nothing known", {}, KvShape()),
    ("nonsense", {"num_hidden_layers": "many", "hidden_size": True}, KvShape()),
]  # fmt: skip


@pytest.mark.parametrize(("title", "config", "shape"), SHAPES, ids=[case[0] for case in SHAPES])
def test_the_kv_cache_grows_as_the_config_says(
    title: str, config: dict[str, Any], shape: KvShape
) -> None:
    assert kv_shape(config) == shape


def test_a_window_bounds_and_a_state_does_not_grow() -> None:
    shape = KvShape(10, ((512, 100),), 7)
    assert shape.row_bytes(256) == 2560 + 25600 + 7
    assert shape.row_bytes(10_240) == 102_400 + 51_200 + 7
    assert KvShape(0, (), 7).row_bytes(1 << 20) == 7


def test_quantised_numbers_take_their_bits_and_a_scale_and_a_bias_for_each_group() -> None:
    shape = KvShape(64)
    assert shape.row_bytes(1024, bits=8) == 1024 * 64 * (8 / 16 + 2 / 64)
    assert shape.row_bytes(1024, bits=4, group=32) == 1024 * 64 * (4 / 16 + 2 / 32)
    # A row is quantised as a whole once it is longer than the start.
    assert shape.row_bytes(512, bits=4, start=512) == 512 * 64
    assert shape.row_bytes(4096, bits=4, start=512) == 4096 * 64 * (4 / 16 + 2 / 64)


def test_the_longest_row_that_fits_is_found() -> None:
    shape = KvShape(100)
    assert shape.most_tokens(25_600, 1 << 20) == 256
    assert shape.most_tokens(25_599, 1 << 20) == 0
    assert shape.most_tokens(1 << 40, 4096) == 4096


@pytest.mark.parametrize("start", [0, 100, 5000])
@pytest.mark.parametrize("room", [20_000, 100_000, 600_000])
def test_the_longest_row_over_a_quantised_cache_fits_and_one_longer_does_not(
    start: int, room: int
) -> None:
    shape = KvShape(100)
    most = shape.most_tokens(room, 1 << 20, bits=4, start=start)
    assert shape.row_bytes(most, 4, 64, start) <= room < shape.row_bytes(most + 1, 4, 64, start)


def test_a_plan_has_weights_and_kv_and_process_and_what_a_chunk_computes(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1000)
    (tmp_path / "notes.txt").write_bytes(b"\0" * 999)
    assert weights_bytes(tmp_path) == 1000
    a_token = kv_bytes_per_token(LLAMA_8B)
    small = needed_bytes(tmp_path, LLAMA_8B, 256)
    process = planning.process_bytes(LLAMA_8B)
    assert planning.LIBRARY_BYTES < process < PROCESS_BYTES
    assert 0 < small - 1000 - 256 * a_token - process < 1 << 30
    # A context of a million tokens is not planned for: few conversations are that long.
    large, planned = (needed_bytes(tmp_path, LLAMA_8B, n) for n in (1_000_000, 8192))
    assert large == planned > small + (PLANNED_CONTEXT_TOKENS - 256) * a_token


def test_a_chunk_half_as_long_computes_half_as_much() -> None:
    long, short = (planning.transient_bytes(LLAMA_8B, 2, step, 0) for step in (2048, 1024))
    logits = planning.LOGIT_BYTES * 128256
    assert long - logits == 2 * (short - logits)
    assert 200 * MIB < long < 600 * MIB


def test_a_mixture_of_experts_counts_those_that_a_token_goes_through() -> None:
    experts = {**LLAMA_8B, "moe_intermediate_size": 1024, "num_experts_per_tok": 8,
               "num_experts": 128}  # fmt: skip
    dense = {**LLAMA_8B, "intermediate_size": 8192}
    assert planning.transient_bytes(experts, 2, 512, 0) == planning.transient_bytes(
        dense, 2, 512, 0
    )


def test_a_model_without_files_is_planned_by_what_its_row_says() -> None:
    spec = ModelSpec(name="fake", path="echo", kind="fake", memory_bytes=5)
    assert plan_of(spec) == Plan(weights_bytes=5)


def test_the_largest_context_is_where_the_plan_ends(text_model: Path) -> None:
    spec = ModelSpec(name="tiny", path=str(text_model), context_tokens=4096)
    at = plan_of(spec, context_tokens=1000).needed_bytes
    assert 1000 <= largest_context(spec, at) < 1280
    assert largest_context(spec, 1 << 40) == 4096
    assert largest_context(spec, 1000) == 0


@pytest.mark.parametrize(("dtype", "width"), [("F16", 2), ("BF16", 2), ("F32", 4), ("U32", 2)])
def test_the_width_of_numbers_is_read_from_the_weights(
    tmp_path: Path, dtype: str, width: int
) -> None:
    header = b'{"w": {"dtype": "%s", "shape": [0], "data_offsets": [0, 0]}}' % dtype.encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert weights_of(tmp_path).number_bytes == width


def test_damaged_files_are_planned_as_well_as_can_be(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1")
    (tmp_path / "model.safetensors").write_bytes(b"xx")
    assert config_of(tmp_path) == {}
    assert weights_of(tmp_path).number_bytes == 2
    assert config_of(tmp_path / "nowhere") == {} and weights_bytes(tmp_path / "nowhere") == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("plans")

    def make(architecture: str) -> Path:
        wider = {"vocab_size": tiny.VOCABULARY}
        path = folder / architecture
        return (
            path
            if path.exists()
            else tiny.make_text_model(path, {**tiny.ARCHITECTURES[architecture], **wider})
        )

    return make


@pytest.mark.model
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_plan_is_within_a_fifth_of_what_a_model_takes(
    made: Callable[[str], Path], architecture: str
) -> None:
    """Weights and the cache of a long row, measured with mlx-lm's own model and cache."""
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load

    folder = made(architecture)
    model, _ = load(str(folder))[:2]
    cache = make_prompt_cache(model)
    length = 0
    while length < 1500:
        model(mx.zeros((1, 250), mx.int32), cache=cache)
        mx.eval([layer.state for layer in cache])
        length += 250
    spec = ModelSpec(name=architecture, path=str(folder), context_tokens=4096)
    plan = plan_of(spec, context_tokens=length)
    measured = sum(int(layer.nbytes) for layer in cache)
    assert plan.kv_bytes == pytest.approx(measured, rel=0.2)
    weights = sum(array.nbytes for _, array in _flat(model))
    assert plan.weights_bytes == pytest.approx(weights, rel=0.2)


def _flat(model: Any) -> Any:
    from mlx.utils import tree_flatten

    return tree_flatten(model.parameters())


@pytest.mark.model
def test_options_of_the_worker_change_the_plan(text_model: Path) -> None:
    def with_(**options: Any) -> Plan:
        spec = ModelSpec(name="t", path=str(text_model), options=LoadOptions(**options))
        return plan_of(spec)

    plain = with_()
    assert with_(kv_bits=4, kv_start_tokens=0).kv_bytes < plain.kv_bytes / 3
    assert with_(max_kv_tokens=1024).kv_bytes == plain.kv_bytes / 8
    assert with_(prefill_step_tokens=64).transient_bytes < plain.transient_bytes / 8
    assert with_(prompt_cache_bytes=77).prompt_cache_bytes == 77
    assert with_(prompt_cache_bytes=77).needed_bytes == plain.needed_bytes
