"""One kept prompt as one safetensors file, exactly as mlx-lm's save_prompt_cache writes it, so that
its load_prompt_cache reads it.

Split in two: `Snapshot` is taken on the mlx thread and holds plain memory; writing it touches no
mlx function, so another thread may do it (mlx's own save makes arrays, which mlx allows only on
threads that have a stream). bfloat16 goes through as bytes.
"""

import base64
import json
import math
import mmap
import os
import zlib
from array import array
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import load_prompt_cache

from mlxgui.engine.cache.arrays import arrays_of

NAMES = {
    mx.bool_: "BOOL", mx.uint8: "U8", mx.int8: "I8", mx.uint16: "U16", mx.int16: "I16",
    mx.uint32: "U32", mx.int32: "I32", mx.uint64: "U64", mx.int64: "I64", mx.float16: "F16",
    mx.bfloat16: "BF16", mx.float32: "F32", mx.float64: "F64", mx.complex64: "C64",
}  # fmt: skip
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4,
         "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8}  # fmt: skip
LARGEST_HEADER = 64 << 20


class Damaged(Exception):
    """The file is not what we wrote."""


class Snapshot:
    """A cache as plain memory. Make it, and let go of it, on the mlx thread."""

    def __init__(self, cache: list[Any], tokens: "array[int]", facts: dict[str, str]) -> None:
        scalars: list[Any] = [""]
        arrays = [
            (name, _as_array(name, leaf, scalars))
            for name, leaf in tree_flatten([layer.state for layer in cache])
        ]
        raw = [_raw(one) for _, one in arrays]
        mx.eval(raw)
        self.views = [_bytes(one) for one in raw]
        self.nbytes = sum(view.nbytes for view in self.views)
        self.tensors: dict[str, Any] = {}
        start = 0
        for (name, one), view in zip(arrays, self.views, strict=True):
            self.tensors[name] = {
                "dtype": NAMES[one.dtype],
                "shape": list(one.shape),
                "data_offsets": [start, start + view.nbytes],
            }
            start += view.nbytes
        facts = {**facts, "tokens": base64.b64encode(tokens.tobytes()).decode()}
        classes = [type(layer).__name__ for layer in cache]
        self.facts = facts
        self._rest = dict(tree_flatten([{}, classes, scalars]))

    def header(self, checksum: int) -> bytes:
        own = {f"0.{key}": value for key, value in self.facts.items()}
        metadata = {**own, **self._rest, "0.checksum": str(checksum)}
        text = json.dumps({"__metadata__": metadata, **self.tensors}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def write(self, path: Path) -> int:
        """Whole or not at all; returns its size. Lets other threads run meanwhile."""
        checksum = 0
        for view in self.views:
            checksum = zlib.crc32(view, checksum)
        part = path.with_suffix(".part")
        try:
            with part.open("wb", buffering=0) as file:
                for data in (memoryview(self.header(checksum)), *self.views):
                    _write_all(file, data)
                size = file.tell()
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return size


def _write_all(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _as_array(name: str, leaf: Any, scalars: list[Any]) -> Any:
    """mlx-lm's own mapping: what is no array becomes one, and is noted."""
    if isinstance(leaf, mx.array):
        return leaf
    if leaf is None:
        scalars.append((name, "none"))
        return mx.array([])
    if isinstance(leaf, str):
        scalars.append((name, "string"))
        return mx.array([ord(character) for character in leaf])
    scalars.append((name, "scalar"))
    return mx.array(leaf)


def _raw(one: Any) -> Any:
    return mx.contiguous(one).reshape(-1).view(mx.uint8) if one.size else one


def _bytes(one: Any) -> memoryview:
    """Over the array's own memory: nothing is copied."""
    if not one.size:
        return memoryview(b"")
    view: Any = memoryview(one)
    flat: memoryview = view.cast("B")
    return flat


class Header:
    """The checked beginning of a file."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(LARGEST_HEADER, size - 8):
                raise Damaged("no header")
            text = file.read(length)
        self.start = 8 + length
        try:
            tensors = json.loads(text)
            metadata = tensors.pop("__metadata__")
            self.facts = {k[2:]: v for k, v in metadata.items() if k.startswith("0.")}
            self.tokens = array("i", base64.b64decode(self.facts.pop("tokens")))
            self.checksum = int(self.facts["checksum"])
            end = _check(tensors)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(f"the header cannot be read: {error!r}") from error
        if self.start + end != size:
            raise Damaged(f"{size} bytes, {self.start + end} expected")


def _check(tensors: dict[str, Any]) -> int:
    """The tensors fill the file without gaps; returns where they end."""
    end = 0
    for tensor in tensors.values():
        start, stop = tensor["data_offsets"]
        size = math.prod(tensor["shape"]) * SIZES[tensor["dtype"]]
        if start != end or stop - start != size or size < 0:
            raise ValueError("the tensors do not fit")
        end = stop
    return end


def read(path: Path, header: Header) -> list[Any]:
    """The cache, evaluated. Raises Damaged."""
    if _checksum(path, header.start) != header.checksum:
        raise Damaged("the checksum differs")
    try:
        cache: list[Any] = load_prompt_cache(str(path))
        mx.eval(arrays_of(cache))
    except Exception as error:
        raise Damaged(f"it cannot be loaded: {error!r}") from error
    return cache


def _checksum(path: Path, start: int) -> int:
    with path.open("rb") as file:
        if path.stat().st_size == start:
            return 0
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as whole,
            whole[start:] as view,
        ):
            return zlib.crc32(view)
