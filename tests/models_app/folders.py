"""Model folders of a few kilobytes, made on the spot: real safetensors files, no mlx."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS, WIDTH = 32, 8
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "U8": 1}
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": WIDTH,
    "max_position_embeddings": 4096,
    "vocab_size": ROWS,
    "eos_token_id": 1,
}
VISION_CONFIG = {
    **CONFIG,
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "vision_config": {"depth": 1},
}
TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{{ messages }}"
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
SHAPES: Shapes = {
    "model.embed_tokens.weight": ("BF16", (ROWS, WIDTH)),
    "model.norm.weight": ("BF16", (WIDTH,)),
}
VISION_SHAPES: Shapes = {**SHAPES, "visual.patch_embed.weight": ("BF16", (WIDTH, WIDTH))}


def make_folder(
    root: Path,
    name: str = "tiny",
    *,
    config: Any = None,
    shapes: Shapes = SHAPES,
    tokens: int = ROWS,
    added: tuple[str, ...] = (),
    template: str = TEMPLATE,
    files: Mapping[str, Any] | None = None,
) -> Path:
    """A sound folder. `files` come last: text, bytes, something for JSON, or None (removed)."""
    folder = root / name
    folder.mkdir(parents=True)
    write(folder / "config.json", CONFIG if config is None else config)
    write(folder / "tokenizer.json", tokenizer(tokens, added))
    write(folder / "tokenizer_config.json", {"chat_template": template} if template else {})
    write(folder / "model.safetensors", safetensors(shapes))
    for file, content in (files or {}).items():
        write(folder / file, content)
    return folder


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        file.unlink()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, str):
        file.write_text(content)
    else:
        file.write_text(json.dumps(content))


def tokenizer(tokens: int = ROWS, added: tuple[str, ...] = ()) -> dict[str, Any]:
    vocab = {f"t{number}": number for number in range(tokens)}
    extra = [{"id": tokens + place, "content": text} for place, text in enumerate(added)]
    return {"model": {"type": "BPE", "vocab": vocab, "merges": []}, "added_tokens": extra}


def safetensors(shapes: Shapes = SHAPES) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        size = SIZES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return with_header(header, bytes(end))


def with_header(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def make_cached(cache: Path, repository: str, *, commit: str = "a" * 40, **options: Any) -> Path:
    """A repository in the layout of the Hugging Face cache: a snapshot of links to blobs."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    made = make_folder(folder / "made", commit, **options)
    snapshot, blobs = folder / "snapshots" / commit, folder / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in made.iterdir():
        file.rename(blobs / f"blob-of-{file.name}")
        (snapshot / file.name).symlink_to(f"../../blobs/blob-of-{file.name}")
    made.rmdir()
    (folder / "made").rmdir()
    write(folder / "refs" / "main", commit)
    return snapshot
