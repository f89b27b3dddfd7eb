"""What a folder is, and why it is refused: a table of each."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from models_app.inspection import Facts, fingerprint, inspect
from models_app.inspection.architectures import known_types
from tests.models_app.folders import (
    CONFIG,
    ROWS,
    SHAPES,
    TEMPLATE,
    VISION_CONFIG,
    VISION_SHAPES,
    WIDTH,
    make_folder,
    safetensors,
    with_header,
)

INDEX = "model.safetensors.index.json"
BERT = {**CONFIG, "model_type": "bert", "architectures": ["BertModel"]}
RERANKER = {**BERT, "architectures": ["BertForSequenceClassification"]}
WHISPER = {"model_type": "whisper", "n_text_ctx": 448}
QUANTISED = {
    "model.embed_tokens.weight": ("U32", (ROWS, 64 * 4 // 32)),
    "model.embed_tokens.scales": ("BF16", (ROWS, 1)),
    "model.embed_tokens.biases": ("BF16", (ROWS, 1)),
}


def look(folder: Path) -> Facts:
    return inspect(folder, [folder.parent])


# -- what it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "text"),
        ({"config": {**CONFIG, "model_type": "mistral"}}, "text"),
        ({"config": VISION_CONFIG, "shapes": VISION_SHAPES}, "vision"),
        ({"config": BERT}, "embedding"),
        ({"files": {"modules.json": "[]"}}, "embedding"),
        ({"name": "Qwen3-Embedding-0.6B-4bit"}, "embedding"),
        ({"config": RERANKER}, "rerank"),
        ({"name": "Qwen3-Reranker-0.6B-4bit"}, "rerank"),
        ({"config": WHISPER, "files": {"tokenizer.json": None}}, "stt"),
        ({"config": {"model_type": "kokoro"}, "files": {"tokenizer.json": None}}, "tts"),
    ],
)
def test_the_kind_is_told_from_the_files(tmp_path: Path, options: Any, kind: str) -> None:
    facts = look(make_folder(tmp_path, **options))
    assert (facts.kind, facts.error_message) == (kind, "")


def test_a_vision_config_without_a_vision_tower_is_a_text_model(tmp_path: Path) -> None:
    config = {**VISION_CONFIG, "model_type": "gemma3"}
    assert look(make_folder(tmp_path, config=config)).kind == "text"


def test_facts_of_a_plain_model(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    facts = look(folder)
    assert facts.architecture == "qwen3"
    assert facts.family == "Qwen"
    assert facts.context_tokens == 4096
    assert facts.quantization == "bf16"
    assert facts.parameters == ROWS * WIDTH + WIDTH
    assert facts.weights_bytes == (folder / "model.safetensors").stat().st_size


def test_packed_weights_are_counted_unpacked(tmp_path: Path) -> None:
    config = {**CONFIG, "quantization": {"bits": 4, "group_size": 64}}
    facts = look(make_folder(tmp_path, config=config, shapes=QUANTISED))
    assert (facts.quantization, facts.parameters) == ("4-bit", ROWS * 64)


def test_the_context_window_may_stand_in_the_text_config(tmp_path: Path) -> None:
    config = {"model_type": "gemma3", "text_config": {"max_position_embeddings": 8192}}
    assert look(make_folder(tmp_path, config=config)).context_tokens == 8192


@pytest.mark.parametrize(
    ("options", "able"),
    [
        ({}, {"chat_template", "tools"}),
        ({"template": ""}, set()),
        ({"template": "{{ messages }}"}, {"chat_template"}),
        ({"template": "<think>{{ messages }}"}, {"chat_template", "thinking"}),
        ({"added": ("<think>", "</think>")}, {"chat_template", "tools", "thinking"}),
        ({"template": "", "files": {"chat_template.jinja": TEMPLATE}}, {"chat_template", "tools"}),
        ({"files": {"chat_template.json": {"chat_template": "<think>"}}},
         {"chat_template", "tools", "thinking"}),
        ({"template": [{"name": "default", "template": TEMPLATE}]}, {"chat_template", "tools"}),
        ({"config": VISION_CONFIG, "shapes": VISION_SHAPES}, {"chat_template", "tools", "vision"}),
        ({"config": BERT}, set()),
    ],
)  # fmt: skip
def test_capabilities_are_told_from_template_and_vocabulary(
    tmp_path: Path, options: Any, able: set[str]
) -> None:
    facts = look(make_folder(tmp_path, **options))
    assert {name for name, has in facts.capabilities.items() if has} == able


def test_a_card_names_the_repository_and_the_base(tmp_path: Path) -> None:
    card = "---\nbase_model: Qwen/Qwen3-4B\n---\n# mlx-community/tiny\n"
    facts = look(make_folder(tmp_path, files={"README.md": card}))
    assert (facts.huggingface_id, facts.base_model) == ("mlx-community/tiny", "Qwen/Qwen3-4B")


def test_a_few_added_tokens_without_a_row_are_no_reason_to_refuse(tmp_path: Path) -> None:
    assert look(make_folder(tmp_path, added=("<image>",))).error_message == ""


def test_the_libraries_are_read_and_not_imported() -> None:
    assert {"qwen3", "llama", "mistral"} <= known_types("mlx_lm")
    assert "qwen2_vl" in known_types("mlx_vlm")


# -- why it is refused ----------------------------------------------------------------------------

BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("no config", {"config.json": None}, "no config.json"),
    ("cut config", {"config.json": '{"model_type": "qw'}, "config.json is damaged"),
    ("config is a list", {"config.json": []}, "not a JSON object"),
    ("config is no text", {"config.json": b"\xff\xfe\x00"}, "config.json is damaged"),
    ("config too deep", {"config.json": "[" * 100_000}, "config.json is damaged"),
    ("no model_type", {"config.json": {}}, "does not say which architecture"),
    ("traversal", {"config.json": {**CONFIG, "model_type": "...utils"}}, "no valid name"),
    ("slashes", {"config.json": {**CONFIG, "model_type": "../x"}}, "no valid name"),
    ("unknown", {"config.json": {**CONFIG, "model_type": "unicorn"}}, "architecture “unicorn”"),
    ("no weights", {"model.safetensors": None}, "no weights"),
    ("pickle only", {"model.safetensors": None, "pytorch_model.bin": b"x"}, "pickle files"),
    ("GGUF only", {"model.safetensors": None, "model-Q4.gguf": b"x"}, "GGUF"),
    ("empty weights", {"model.safetensors": b""}, "header does not make sense"),
    ("noise", {"model.safetensors": struct.pack("<Q", 1 << 60) + b"noise"}, "does not make sense"),
    ("header is noise", {"model.safetensors": struct.pack("<Q", 9) + b"x" * 9}, "cannot be read"),
    ("cut weights", {"model.safetensors": safetensors()[:-1]}, "cut short"),
    ("wrong size", {"model.safetensors": with_header(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4))}, "its shape"),
    ("backwards", {"model.safetensors": with_header(
        {"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}}, bytes(4))}, "the place of"),
    ("nothing inside", {"model.safetensors": with_header({})}, "hold no tensors"),
    ("missing shard", {INDEX: {"weight_map": {"a": "model-2.safetensors"}}}, "1 of 1 weight files"),
    ("shard elsewhere", {INDEX: {"weight_map": {"a": "../x.safetensors"}}}, "outside the folder"),
    ("no tokenizer", {"tokenizer.json": None}, "no tokenizer"),
    ("cut tokenizer", {"tokenizer.json": '{"model": {"voc'}, "tokenizer.json is damaged"),
    ("cut tokenizer config", {"tokenizer_config.json": "{"}, "tokenizer_config.json is damaged"),
    ("model_file", {"config.json": {**CONFIG, "model_file": "m.py"}}, "program code to be run"),
    ("auto_map", {"config.json": {**CONFIG, "auto_map": {"AutoModel": "m.M"}}}, "(auto_map)"),
    ("nested auto_map", {"config.json": {**CONFIG, "text_config": {"auto_map": {"a": "b"}}}},
     "(auto_map)"),
    ("tokenizer code", {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": "t.T"}}},
     "tokenizer_config.json asks"),
    ("processor code", {"preprocessor_config.json": {"auto_map": {"A": "t.T"}}},
     "preprocessor_config.json asks"),
    ("Python file", {"modeling.py": "1"}, "program code (modeling.py)"),
    ("Python file below", {"code/deep/modeling.py": "1"}, "program code (modeling.py)"),
    ("unfinished download", {"model.safetensors": None,
        ".cache/huggingface/download/x.incomplete": b""}, "not finished"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "reason"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_a_broken_folder_says_why(tmp_path: Path, files: dict[str, Any], reason: str) -> None:
    facts = look(make_folder(tmp_path, files=files))
    assert reason in facts.error_message


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    facts = look(make_folder(tmp_path, tokens=ROWS + 1))
    assert "do not belong together" in facts.error_message


def test_an_end_token_beyond_the_rows_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, config={**CONFIG, "eos_token_id": [1, ROWS]})
    assert "do not belong together" in look(folder).error_message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "is empty" in look(tmp_path / "empty").error_message


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    files = {"config.json": None, "adapter_config.json": {"model": "some/base"}}
    facts = look(make_folder(tmp_path, files=files))
    assert "some/base" in facts.error_message
    assert (facts.is_finetuned, facts.base_model) == (True, "some/base")


# -- links ----------------------------------------------------------------------------------------


def test_a_link_out_of_the_allowed_places_is_not_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "models")
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to("../../secret.txt")
    facts = look(folder)
    assert "is a link to a place outside" in facts.error_message
    assert "a secret" not in facts.error_message


def test_a_folder_that_is_itself_such_a_link_is_not_read(tmp_path: Path) -> None:
    outside = make_folder(tmp_path / "outside")
    (tmp_path / "models").mkdir()
    link = tmp_path / "models" / "linked"
    link.symlink_to(outside)
    assert "is a link to a place outside" in look(link).error_message


def test_a_link_within_the_allowed_places_is_fine(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert look(folder).error_message == ""


def test_a_link_to_nothing_says_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, files={"model.safetensors": None})
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert "a file that is gone" in look(folder).error_message


# -- the fingerprint ------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_the_folder_only(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    (folder / "config.json").write_text(json.dumps({**CONFIG, "more": 1}))
    assert fingerprint(folder) != before


def test_the_fingerprint_of_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "gone")


def test_a_quantised_embedding_still_counts_its_rows(tmp_path: Path) -> None:
    facts = look(make_folder(tmp_path, shapes={**QUANTISED, **dict(list(SHAPES.items())[1:])},
                             tokens=ROWS + 1))  # fmt: skip
    assert "do not belong together" in facts.error_message
