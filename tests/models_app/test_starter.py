"""The starter model as files: what it learnt from, how large it is, whether its parts agree."""

import json
import struct
from collections import Counter
from pathlib import Path

import pytest
from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models_app" / "starter"
GUIDE = [json.loads(line) for line in (ROOT / "docs" / "guide.jsonl").read_text().splitlines()]
LARGEST_BYTES = 6_000_000


def read(name: str) -> dict:
    return json.loads((FOLDER / name).read_text())


def header() -> dict:
    with (FOLDER / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def test_the_guide_has_at_least_120_entries() -> None:
    assert len(GUIDE) >= 120


@pytest.mark.parametrize("entry", GUIDE, ids=lambda entry: entry["question"])
def test_an_entry_is_well_formed_and_its_answer_holds_the_key(entry: dict) -> None:
    assert set(entry) == {"question", "variants", "answer", "key"}
    assert 2 <= len(entry["variants"]) <= 15
    assert all(text.strip() == text and text for text in [entry["question"], *entry["variants"]])
    assert entry["key"].strip() and entry["key"].lower() in entry["answer"].lower()


def test_no_question_is_asked_twice() -> None:
    asked = [text for entry in GUIDE for text in [entry["question"], *entry["variants"]]]
    counts = Counter(text.lower().strip("?.! ") for text in asked)
    assert [text for text, count in counts.items() if count > 1] == []


def test_the_folder_stays_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) <= LARGEST_BYTES


def test_the_special_tokens_agree_in_every_file() -> None:
    added = {item["content"]: item["id"] for item in read("tokenizer.json")["added_tokens"]}
    assert set(added) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    config, generation = read("config.json"), read("generation_config.json")
    assert config["eos_token_id"] == generation["eos_token_id"] == added["<|im_end|>"]
    assert config["pad_token_id"] == generation["pad_token_id"] == added["<|endoftext|>"]
    assert read("tokenizer_config.json")["eos_token"] == "<|im_end|>"


def test_every_token_has_a_row_in_the_weights() -> None:
    vocabulary = read("tokenizer.json")["model"]["vocab"]
    config = read("config.json")
    rows, columns = header()["model.embed_tokens.weight"]["shape"]
    assert (rows, columns) == (config["vocab_size"], config["hidden_size"])
    assert max(vocabulary.values()) < rows


def test_the_config_describes_the_weights() -> None:
    config, weights = read("config.json"), header()
    layers = {name.split(".")[2] for name in weights if name.startswith("model.layers.")}
    wide = config["num_attention_heads"] * config["head_dim"]
    assert config["model_type"] == "qwen3"
    assert len(layers) == config["num_hidden_layers"]
    assert weights["model.layers.0.self_attn.q_proj.weight"]["shape"][0] == wide
    assert weights["model.layers.0.mlp.up_proj.weight"]["shape"][0] == config["intermediate_size"]


@pytest.mark.parametrize(
    ("role", "written"), [("user", "user"), ("developer", "system"), ("tool", "tool")]
)
def test_the_template_writes_chatml(role: str, written: str) -> None:
    template = Environment().from_string((FOLDER / "chat_template.jinja").read_text())
    text = template.render(messages=[{"role": role, "content": "Hi"}], add_generation_prompt=True)
    assert text == f"<|im_start|>{written}\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_the_template_takes_text_parts_and_empty_content() -> None:
    template = Environment().from_string((FOLDER / "chat_template.jinja").read_text())
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "day"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    expected = "<|im_start|>user\nGood day<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
    assert template.render(messages=messages) == expected
