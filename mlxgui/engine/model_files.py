"""What a model's folder says of its size, read without mlx and remembered until it changes."""

import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

LARGEST_HEADER_BYTES = 100 << 20
_LENGTH = struct.Struct("<Q")


class Weights(Struct, frozen=True):
    """`number_bytes` is the width that the model computes in: 2, or 4 for plain 32-bit weights."""

    size_bytes: int = 0
    number_bytes: int = 2


def config_of(folder: Path) -> dict[str, Any]:
    """config.json; empty where there is none that can be read. Not to be changed: it is shared."""
    file = folder / "config.json"
    try:
        return _config(file, file.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=256)
def _config(file: Path, changed: int) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def weights_bytes(folder: Path) -> int:
    """Bytes of the weight files as they lie on disk; links count as what they lead to."""
    return sum(size for _, size, _ in _files(folder))


def weights_of(folder: Path) -> Weights:
    return _weights(_files(folder))


def _files(folder: Path) -> tuple[tuple[Path, int, int], ...]:
    """(file, bytes, time of the last change) of each."""
    found = []
    # A pipeline that draws keeps its weights in the folders of its parts.
    for file in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*/*.safetensors")):
        if file.is_file():
            stat = file.stat()
            found.append((file, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=256)
def _weights(files: tuple[tuple[Path, int, int], ...]) -> Weights:
    size = sum(size for _, size, _ in files)
    return Weights(size, _number_bytes(files[0][0]) if files else 2)


def _number_bytes(file: Path) -> int:
    """Quantised weights keep scales of the width that is computed in; others are that width."""
    try:
        with file.open("rb") as opened:
            (length,) = _LENGTH.unpack(opened.read(_LENGTH.size))
            header = json.loads(opened.read(min(length, LARGEST_HEADER_BYTES)))
        kinds = {tensor.get("dtype") for name, tensor in header.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, AttributeError, RecursionError):
        return 2
    return 4 if "F32" in kinds and not kinds & {"F16", "BF16"} else 2
