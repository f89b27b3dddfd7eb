"""safetensors files by their headers: are they whole, and what do they hold."""

import math
import os
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from models_app.inspection.facts import BrokenFolder
from models_app.inspection.files import read_object

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
DTYPE_LABELS = {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "F64": "fp64", "F8_E4M3": "fp8"}
EMBEDDINGS = (
    "embed_tokens.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "token_embedding.weight",
    "wte.weight",
)
OTHER_WEIGHTS = {
    ".bin": "as pickle files, which can run code when they are opened",
    ".pt": "as pickle files, which can run code when they are opened",
    ".pth": "as pickle files, which can run code when they are opened",
    ".gguf": "in GGUF, the format of llama.cpp",
    ".npz": "as NumPy files, an earlier layout of MLX",
    ".h5": "as TensorFlow files",
    ".onnx": "in ONNX",
}


class Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Tensors = dict[str, Tensor]


def read_weights(folder: Path) -> tuple[Tensors, int]:
    """All tensors of the folder, and the bytes its weight files take."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    _check_index(folder)
    if not files:
        raise BrokenFolder(_why_no_weights(folder))
    tensors: Tensors = {}
    for file in files:
        tensors.update(read_header(file))
    if not tensors:
        raise BrokenFolder("The weight files hold no tensors. Download the model again.")
    return tensors, sum(file.stat().st_size for file in files)


def read_header(file: Path) -> Tensors:
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise _damaged(file, "its header does not make sense")
        header = _parse(file, stream.read(length))
    data_bytes = size - 8 - length
    for name, tensor in header.items():
        _check_tensor(file, name, tensor, data_bytes)
    return header


def _parse(file: Path, data: bytes) -> Tensors:
    try:
        raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        return {name: msgspec.json.decode(value, type=Tensor) for name, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(file, "its header cannot be read") from error


def _check_tensor(file: Path, name: str, tensor: Tensor, data_bytes: int) -> None:
    begin, end = tensor.data_offsets
    if begin < 0 or end > data_bytes:
        raise _damaged(file, "it is cut short")
    bits = DTYPE_BITS.get(tensor.dtype)
    if begin > end or any(side < 0 for side in tensor.shape):
        raise _damaged(file, f"the place of “{name[:80]}” in it does not make sense")
    if bits and tensor.size * bits != (end - begin) * 8:
        raise _damaged(file, f"the size of “{name[:80]}” does not match its shape")


def _damaged(file: Path, what: str) -> BrokenFolder:
    return BrokenFolder(f"{file.name} is damaged or incomplete: {what}. Download it again.")


def _check_index(folder: Path) -> None:
    weight_map = read_object(folder / "model.safetensors.index.json").get("weight_map") or {}
    shards = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
    for shard in shards:
        if not isinstance(shard, str) or os.path.basename(shard) != shard:
            raise BrokenFolder("model.safetensors.index.json names a file outside the folder.")
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise BrokenFolder(
            f"{len(missing)} of {len(shards)} weight files are missing, {missing[0]} first. "
            f"{_unfinished(folder) or 'Download the model again.'}"
        )


def _unfinished(folder: Path) -> str:
    """`hf download --local-dir` keeps what it has not finished here."""
    if any(folder.glob(".cache/huggingface/download/**/*.incomplete")):
        return "A download into this folder is not finished: run the same command again."
    return ""


def _why_no_weights(folder: Path) -> str:
    if reason := _unfinished(folder):
        return reason
    for suffix, kind in OTHER_WEIGHTS.items():
        if any(folder.glob(f"*{suffix}")):
            return (
                f"The weights are only here {kind}. Use a version of the model with "
                "safetensors weights."
            )
    return "There are no weights (*.safetensors) in the folder. Download the model again."


def count_parameters(tensors: Mapping[str, Tensor], group_size: int) -> int:
    """Weights as the model knows them: packed integers are counted unpacked."""
    total = 0
    for name, tensor in tensors.items():
        stem, _, leaf = name.rpartition(".")
        packed = tensors.get(f"{stem}.weight")
        scales = tensors.get(f"{stem}.scales")
        if leaf in ("scales", "biases") and packed and scales:
            continue
        if leaf == "weight" and scales and scales.shape and group_size:
            total += math.prod(tensor.shape[:-1]) * scales.shape[-1] * group_size
        else:
            total += tensor.size
    return total


def main_dtype(tensors: Mapping[str, Tensor]) -> str:
    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.data_offsets[1] - tensor.data_offsets[0]
    dtype = sizes.most_common(1)[0][0]
    return DTYPE_LABELS.get(dtype, dtype.lower())


def embedding_rows(tensors: Mapping[str, Tensor]) -> int:
    """Rows of the token embedding, 0 where no tensor has a name we know."""
    rows = [
        tensor.shape[0]
        for name, tensor in tensors.items()
        if name.endswith(EMBEDDINGS) and len(tensor.shape) == 2
    ]
    return max(rows, default=0)


def names_any(tensors: Mapping[str, Tensor], marks: Sequence[str]) -> bool:
    return any(mark in name for name in tensors for mark in marks)
