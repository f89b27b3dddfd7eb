"""A short look at the numbers themselves: weights that are not numbers make every answer noise."""

import struct
from pathlib import Path
from typing import BinaryIO

from models_app.inspection.facts import BrokenFolder
from models_app.inspection.weights import Tensor, read_header

SAMPLED = 512
"""Numbers read of each tensor: whole norms of small models, the beginning of what is larger."""
# Format of one number as an integer, its exponent bits, its other bits.
LAYOUTS = {
    "F32": ("I", 0x7F800000, 0x007FFFFF),
    "F16": ("H", 0x7C00, 0x03FF),
    "BF16": ("H", 0x7F80, 0x007F),
}


def check_numbers(folder: Path) -> None:
    """Raises BrokenFolder where a sample holds NaN. Infinity may be meant: a mask, say."""
    for file in sorted(folder.glob("*.safetensors")):
        header = read_header(file)
        with file.open("rb") as stream:
            start = 8 + struct.unpack("<Q", stream.read(8))[0]
            for name, tensor in header.items():
                if tensor.dtype in LAYOUTS and _has_nan(_sample(stream, start, tensor), tensor):
                    raise BrokenFolder(
                        f"“{name[:80]}” in {file.name} holds what is no number (NaN), so every "
                        "answer would be noise. Download the model again, or use another "
                        "conversion of it."
                    )


def _sample(stream: BinaryIO, start: int, tensor: Tensor) -> bytes:
    begin, end = tensor.data_offsets
    stream.seek(start + begin)
    width = struct.calcsize(LAYOUTS[tensor.dtype][0])
    return stream.read(min(end - begin, SAMPLED * width))


def _has_nan(data: bytes, tensor: Tensor) -> bool:
    code, exponent, fraction = LAYOUTS[tensor.dtype]
    count = len(data) // struct.calcsize(code)
    numbers = struct.unpack(f"<{count}{code}", data[: count * struct.calcsize(code)])
    return any(number & exponent == exponent and number & fraction for number in numbers)
