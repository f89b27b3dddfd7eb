"""Sizes, parameters and kinds from metadata; memory as a picture; cards made safe."""

from types import SimpleNamespace
from typing import Any

import pytest

from mlxgui.engine.memory import GIB
from models_app import card
from models_app.hub_facts import HubFile, HubModel, from_listing, kind_from, with_details
from models_app.memory_plot import plot


def info(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "id": "a/m", "config": None, "tags": None, "safetensors": None, "card_data": None,
        "pipeline_tag": None, "downloads": None, "likes": None, "library_name": None,
        "gated": False, "sha": "c", "created_at": None, "last_modified": None,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


def counts(**parameters: int) -> Any:
    return SimpleNamespace(parameters=parameters, total=sum(parameters.values()))


@pytest.mark.parametrize(
    ("config", "tags", "tensors", "quantization", "parameters", "size"),
    [
        ({"quantization_config": {"bits": 4}}, [], counts(U32=100, BF16=25), "4-bit", 800, 450),
        ({"quantization": {"bits": 8}}, [], counts(U32=100, BF16=12), "8-bit", 400, 424),
        ({}, ["6-bit"], counts(U32=96), "6-bit", 512, 384),
        ({}, [], counts(BF16=50), "bf16", 50, 100),
        ({}, [], counts(F32=50), "fp32", 50, 200),
        ({}, [], None, "", 0, 0),
    ],
)
def test_what_the_tensor_types_say(
    config: Any, tags: Any, tensors: Any, quantization: str, parameters: int, size: int
) -> None:
    found = from_listing(info(config=config, tags=tags, safetensors=tensors))
    assert (found.quantization, found.parameters) == (quantization, parameters)
    assert found.weights_bytes == size


def test_a_name_says_nothing() -> None:
    found = from_listing(info(id="a/Model-70B-4bit"))
    assert (found.parameters, found.quantization, found.memory_bytes) == (0, "", 0)


@pytest.mark.parametrize(
    ("task", "architecture", "kind"),
    [
        ("text-generation", "", "text"),
        ("image-text-to-text", "qwen2_vl", "vision"),
        ("", "qwen3", "text"),
        ("", "unheard_of", ""),
        ("fill-mask", "", ""),
    ],
)
def test_kinds(task: str, architecture: str, kind: str) -> None:
    assert kind_from(task, architecture) == kind


def test_pooling_makes_an_embedding_model() -> None:
    model = HubModel(repository="a/m", kind="text")
    files = [HubFile("1_Pooling/config.json", 1, True)]
    assert with_details(model, files, {}, {}).kind == "embedding"


CONFIG = {
    "model_type": "qwen3", "num_hidden_layers": 10, "num_attention_heads": 8,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 65536,
}  # fmt: skip


def detailed(weights_bytes: int = 2 * GIB) -> HubModel:
    files = [HubFile("model.safetensors", weights_bytes, True)]
    return with_details(HubModel(repository="a/m"), files, CONFIG, {})


def test_memory_grows_with_the_conversation() -> None:
    model = detailed()
    a_token = 10 * 8 * 128 * 2 * 2
    assert model.memory_at(1000) - model.memory_at(0) == 1000 * a_token
    assert model.memory_bytes == model.memory_at(8192)


@pytest.mark.parametrize(
    ("room_gib", "fitting"), [(100, 65536), (4, None), (1, 0)], ids=["all", "some", "none"]
)
def test_the_plot_says_how_long_a_conversation_fits(room_gib: int, fitting: int | None) -> None:
    drawn = plot(detailed(), room_gib * GIB)
    assert drawn is not None
    if fitting is None:
        assert 0 < drawn.fitting_tokens < 65536
        assert drawn.limit is not None
    else:
        assert drawn.fitting_tokens == fitting
    assert len(drawn.line.split()) == 25


def test_without_facts_there_is_no_plot() -> None:
    assert plot(HubModel(repository="a/m"), GIB) is None


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>x()</script>", "x()"),
        ("[a](javascript:x)", 'href="javascript'),
        ("<img src=x onerror=y>", "onerror"),
        ("<p style='color:red'>a</p>", "style"),
        ("![a](http://b/c.png)", "<img"),
        ("<iframe src='http://b'></iframe>", "iframe"),
    ],
)
def test_cards_cannot_bring_anything_that_runs(text: str, never: str) -> None:
    assert never not in card.render(text)
