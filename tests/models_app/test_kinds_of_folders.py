"""Folders of models that do not chat: recognised by what they hold."""

from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.model_files import weights_bytes
from models_app.folders import cached_models, model_folders
from models_app.inspection import inspect
from tests.models_app.folders import CONFIG, SHAPES, make_folder, safetensors, write


def make_pipeline(folder: Path, **files: Any) -> Path:
    """As diffusers lays it out: no config.json of its own."""
    write(folder / "model_index.json", {"_class_name": "ZImagePipeline"})
    for part in ("transformer", "vae"):
        write(folder / part / "config.json", {"_class_name": part})
        write(folder / part / "model.safetensors", safetensors(SHAPES))
    for name, content in files.items():
        write(folder / name.replace("__", "/"), content)
    return folder


def test_a_pipeline_of_parts_is_one_image_model(tmp_path: Path) -> None:
    folder = make_pipeline(tmp_path / "models" / "painter")
    (found,) = model_folders(tmp_path / "models", (tmp_path,))
    facts = inspect(found.path, found.roots)
    assert (facts.error_message, facts.kind, facts.architecture) == ("", "image", "z_image")
    assert facts.weights_bytes == weights_bytes(folder) > 0 and facts.parameters > 0


def test_a_pipeline_is_found_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--painter"
    write(repository / "refs" / "main", "abc123")
    make_pipeline(repository / "snapshots" / "abc123")
    (found,) = cached_models(tmp_path)
    assert (found.name, found.huggingface_id) == ("painter", "someone/painter")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model_index.json", {"_class_name": "MysteryPipeline"}, "draws with “MysteryPipeline”"),
        ("model_index.json", {}, "a pipeline without a name"),
        ("vae/model.safetensors", b"cut", "damaged or incomplete"),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"x": "y.py"}}, "program code"),
        ("transformer/run.py", "print()", "program code"),
    ],
)
def test_a_broken_pipeline_says_why(tmp_path: Path, name: str, content: Any, says: str) -> None:
    folder = make_pipeline(tmp_path / "painter")
    write(folder / name, content)
    assert says in inspect(folder, (tmp_path,)).error_message


def test_a_pipeline_without_weights_says_so(tmp_path: Path) -> None:
    folder = make_pipeline(tmp_path / "painter")
    for file in folder.glob("*/*.safetensors"):
        file.unlink()
    assert "no weights" in inspect(folder, (tmp_path,)).error_message


@pytest.mark.parametrize(
    ("name", "config", "kind"),
    [
        ("whisper-tiny", {"model_type": "whisper"}, "stt"),
        ("pocket", {"model_type": None, "flow_lm": {}, "mimi": {}}, "tts"),
        ("Kokoro-82M", {"model_type": None, "istftnet": {}, "plbert": {}}, "tts"),
        ("orpheus-3b", {"model_type": "llama"}, "tts"),
        ("OuteTTS-0.6B", {"model_type": "qwen3"}, "tts"),
        ("plain-llama", {"model_type": "llama"}, "text"),
        ("bge", {"model_type": "bert", "architectures": ["BertModel"]}, "embedding"),
        ("ms-marco", {"architectures": ["BertForSequenceClassification"]}, "rerank"),
    ],
)
def test_speech_and_vectors_are_told_apart(
    tmp_path: Path, name: str, config: dict[str, Any], kind: str
) -> None:
    folder = make_folder(tmp_path, name, config={**CONFIG, **config})
    assert inspect(folder, (tmp_path,)).kind == kind
