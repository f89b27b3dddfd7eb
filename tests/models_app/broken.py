"""Folders that must be refused: one sound tiny model, damaged in one way each."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import tiny
from tests.models_app.folders import VISION_CONFIG, VISION_SHAPES, make_folder, with_header

CODE = "from pathlib import Path\nPath({marker!r}).touch()\n"
HOSTILE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


class Marks:
    """A pickle that touches a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def cut(file: Path, share: float = 0.5) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def rewrite(folder: Path, change: Callable[[str, dict[str, Any], bytearray], bool]) -> None:
    """The weights again, tensor by tensor; `change` may alter one, or drop it by saying False."""
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kept: dict[str, Any] = {}
    new = bytearray()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        part = bytearray(body[begin:end])
        if change(name, entry, part):
            kept[name] = {**entry, "data_offsets": [len(new), len(new) + len(part)]}
            new += part
    file.write_bytes(with_header(kept, bytes(new)))


def wrong_shape(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    if name.endswith("layers.0.mlp.up_proj.weight"):
        entry["shape"] = [3, 5]
        del data[3 * 5 * 4 :]
    return True


def not_a_number(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    if name == "model.norm.weight":
        data[:] = struct.pack("<f", float("nan")) * (len(data) // 4)
    return True


def a_last_row_of_nan(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    """Where no look at the file's beginnings sees it."""
    if name == "lm_head.weight":
        data[-4:] = struct.pack("<f", float("nan"))
    return True


def half_the_rows(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    if name in ("model.embed_tokens.weight", "lm_head.weight"):
        entry["shape"][0] //= 2
        del data[len(data) // 2 :]
    return True


def without_layer_1(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    return ".layers.1." not in name


def without_one_tensor(name: str, entry: dict[str, Any], data: bytearray) -> bool:
    return not name.endswith("layers.1.mlp.up_proj.weight")


def code(folder: Path, marker: Path, name: str = "modeling_own.py") -> None:
    (folder / name).write_text(CODE.format(marker=str(marker)))


def make_vision(folder: Path) -> None:
    shutil.rmtree(folder)
    make_folder(folder.parent, folder.name, config=VISION_CONFIG, shapes=VISION_SHAPES)


def link(folder: Path, name: str, target: Path) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(target)


# What is done to the sound folder, and a part of the reason that must be given.
CASES: dict[str, tuple[Callable[[Path, Path, Path], Any], str]] = {
    "truncated-safetensors": (lambda f, m, o: cut(f / "model.safetensors"), "cut short"),
    "garbage-safetensors": (
        lambda f, m, o: (f / "model.safetensors").write_bytes(b"\xff" * 4096),
        "header does not make sense",
    ),
    "empty-safetensors": (
        lambda f, m, o: (f / "model.safetensors").write_bytes(b""),
        "header does not make sense",
    ),
    "missing-config": (lambda f, m, o: (f / "config.json").unlink(), "no config.json"),
    "invalid-json-config": (lambda f, m, o: cut(f / "config.json"), "config.json is damaged"),
    "config-is-a-list": (
        lambda f, m, o: (f / "config.json").write_text("[1, 2]"),
        "not a JSON object",
    ),
    "unknown-model-type": (
        lambda f, m, o: edit(f / "config.json", model_type="unicorn"),
        "architecture “unicorn”",
    ),
    "traversal-model-type": (
        lambda f, m, o: edit(f / "config.json", model_type="...utils"),
        "no valid name",
    ),
    "missing-tokenizer": (
        lambda f, m, o: [file.unlink() for file in f.glob("*token*")],
        "no tokenizer",
    ),
    "invalid-tokenizer": (lambda f, m, o: cut(f / "tokenizer.json"), "tokenizer.json is damaged"),
    "bad-chat-template": (
        lambda f, m, o: (f / "chat_template.jinja").write_text("{% for m in messages %}{{ m }"),
        "chat template in chat_template.jinja is damaged",
    ),
    "hostile-chat-template": (
        lambda f, m, o: (f / "chat_template.jinja").write_text(HOSTILE),
        "reaches into Python",
    ),
    "wrong-shapes": (lambda f, m, o: rewrite(f, wrong_shape), "has the shape 3 × 5"),
    "missing-tensors": (lambda f, m, o: rewrite(f, without_layer_1), "1 of the model's 2 layers"),
    "missing-one-tensor": (
        lambda f, m, o: rewrite(f, without_one_tensor),
        "hold no “layers.1.mlp.up_proj.weight”",
    ),
    "nan-weights": (lambda f, m, o: rewrite(f, not_a_number), "no number (NaN)"),
    "small-vocab": (lambda f, m, o: rewrite(f, half_the_rows), "do not belong together"),
    "missing-shard": (
        lambda f, m, o: (f / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}})
        ),
        "1 of 2 weight files are missing",
    ),
    "pickle-only": (
        lambda f, m, o: [
            (f / "model.safetensors").unlink(),
            (f / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(m))),
        ],
        "pickle files",
    ),
    "remote-code-config": (
        lambda f, m, o: [
            edit(f / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Model"}),
            code(f, m),
        ],
        "program code",
    ),
    "remote-code-tokenizer": (
        lambda f, m, o: [
            edit(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]}),
            code(f, m, "own.py"),
        ],
        "program code",
    ),
    "remote-code-vision": (
        lambda f, m, o: [
            make_vision(f),
            edit(f / "tokenizer_config.json", auto_map={"AutoProcessor": "own.P"}),
            code(f, m, "own.py"),
        ],
        "program code",
    ),
    "model-file-code": (
        lambda f, m, o: [edit(f / "config.json", model_file="own.py"), code(f, m, "own.py")],
        "program code",
    ),
    "symlink-outside": (
        lambda f, m, o: link(f, "model.safetensors", o / "model.safetensors"),
        "link to a place outside",
    ),
    "symlink-secret": (
        lambda f, m, o: link(f, "tokenizer_config.json", o / "secret.txt"),
        "link to a place outside",
    ),
    "empty-folder": (lambda f, m, o: [file.unlink() for file in f.iterdir()], "is empty"),
    "symlink-folder": (
        lambda f, m, o: [shutil.rmtree(f), f.symlink_to(o)],
        "link to a place outside",
    ),
}


def make_broken(root: Path, elsewhere: Path, marker: Path) -> None:
    """Every case as a folder of `root`; a sound model and a secret lie in `elsewhere`."""
    tiny.make_text_model(elsewhere)
    (elsewhere / "secret.txt").write_text("the secret")
    for name, (damage, _) in CASES.items():
        shutil.copytree(elsewhere, root / name, ignore=shutil.ignore_patterns("secret.txt"))
        damage(root / name, marker, elsewhere)
