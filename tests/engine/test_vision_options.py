"""What a vision model shares with text models, and what it refuses by name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlxgui.engine.backends import make_backend
from mlxgui.engine.errors import LoadFailed, Unsupported
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import GenerationRequest, ImagePart, Message, Sampling, TextPart
from tests import tiny_vision
from tests.engine.backend import run

pytestmark = pytest.mark.model
GREEDY = Sampling(temperature=0)


def load(folder: Path, adapter: Path | None = None, **options: Any) -> Any:
    backend = make_backend("vision")
    spec = ModelSpec(
        name=folder.name,
        path=str(folder),
        kind="vision",
        adapter_path=str(adapter or ""),
        context_tokens=4096,
        options=LoadOptions(**options),
    )
    backend.load(spec, lambda fraction: None)
    return backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision.make_qwen2_vl(tmp_path_factory.mktemp("vision") / "seeing")


@pytest.fixture(scope="module")
def seeing(folder: Path) -> Any:
    return load(folder)


def ask(*parts: TextPart | ImagePart, **changes: Any) -> GenerationRequest:
    given = {"sampling": GREEDY, "max_tokens": 12, "enable_thinking": False, **changes}
    return GenerationRequest(messages=[Message("user", list(parts))], **given)


def text_of(backend: Any, request: GenerationRequest) -> str:
    (found,) = run(backend, [request])
    assert found.error is None, found.error
    return found.text


LOOK = ask(ImagePart(tiny_vision.picture(1, 80, 60)), TextPart("What is this?"))
TALK = ask(TextPart("Hello, who are you?"))


def make_adapter(folder: Path, model: Any, prefix: str = "") -> Path:
    """LoRA of rank 2 on the queries of every layer, in the form that mlx-lm trains."""
    import mlx.core as mx

    folder.mkdir()
    told = {"rank": 2, "scale": 40.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]}
    layers = len(model.whole.language_model.model.layers)
    config = {"fine_tune_type": "lora", "num_layers": layers, "lora_parameters": told}
    names = [f"language_model.model.layers.{i}.self_attn.q_proj" for i in range(layers)]
    told["keys"] = names
    (folder / "adapter_config.json").write_text(json.dumps(config))
    weights = {}
    for i, name in enumerate(names):
        weights[f"{prefix}{name}.lora_a"] = mx.random.normal((128, 2), key=mx.random.key(i))
        weights[f"{prefix}{name}.lora_b"] = mx.random.normal((2, 128), key=mx.random.key(9 + i))
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    return folder


def test_an_adapter_changes_what_is_written_with_and_without_pictures(
    folder: Path, seeing: Any, tmp_path: Path
) -> None:
    trained = load(folder, make_adapter(tmp_path / "lora", seeing))
    for request in (LOOK, TALK):
        assert text_of(trained, request) != text_of(seeing, request)
    theirs = make_adapter(tmp_path / "other", seeing, "another.")
    with pytest.raises(LoadFailed, match="adapter was trained for another model"):
        load(folder, theirs)


def test_keys_of_pictures_are_quantised_like_those_of_text(folder: Path, seeing: Any) -> None:
    small = load(folder, kv_bits=8, kv_start_tokens=8)
    asked = [LOOK, TALK, LOOK]
    most = dict.fromkeys((seeing, small), 0)

    def written(backend: Any) -> list[str]:
        def watch(step: int) -> None:
            most[backend] = max(most[backend], backend.call("stats", {})["kv_bytes"])

        return [result.text for result in run(backend, asked, at_step=watch)]

    assert written(small) == written(seeing)
    assert 0 < most[small] < 0.5 * most[seeing]


def test_a_cache_that_cannot_be_quantised_is_refused_by_name_or_left_out_with_a_reason(
    tmp_path: Path,
) -> None:
    sliding = tiny_vision.make_gemma3(tmp_path / "sliding")
    with pytest.raises(LoadFailed, match="kv_quantization does not go with “sliding”"):
        load(sliding, kv_bits=8)
    served = load(sliding, kv_bits=8, kv_if_possible=True)
    assert "left out" in served.kv_note and text_of(served, LOOK)


def test_no_model_drafts_for_a_vision_model(seeing: Any) -> None:
    (found,) = run(seeing, [msgspec.structs.replace(TALK, draft_path="/nowhere")])
    assert isinstance(found.error, Unsupported) and found.error.param == "draft_model"


def test_an_echo_gives_the_prompt_back_and_its_probabilities(seeing: Any) -> None:
    asked = {"prompt": "Hello there", "echo": True, "logprobs": 1, "max_tokens": 2}
    (found,) = run(seeing, [GenerationRequest(**asked, sampling=GREEDY)])
    assert found.error is None and found.text.startswith("Hello there")
    alone = {**asked, "max_tokens": 0, "read_only": True}
    (read,) = run(seeing, [GenerationRequest(**alone, sampling=GREEDY)])
    assert read.error is None and read.text == "Hello there"
    assert read.done.usage.completion_tokens == 0


def test_texts_become_tokens_and_tokens_texts(seeing: Any) -> None:
    def tokenize(request: GenerationRequest) -> Any:
        asked = {"request": msgspec.to_builtins(request, builtin_types=(bytes,)), "pieces": True}
        return seeing.call("tokenize", asked)

    cut = tokenize(GenerationRequest(prompt="Hello there"))
    assert "".join(cut["pieces"]) == "Hello there"
    assert seeing.call("detokenize", {"tokens": cut["tokens"]}) == {"text": "Hello there"}
    seen = tokenize(LOOK)
    assert len(seen["pieces"]) == len(seen["tokens"])
    assert seen["pieces"].count("<|image_pad|>") == 6
