"""Frames on the pipe between the pool and a worker: MessagePack behind a four-byte length.

Parent to child: `Load` once, then `Generate`, `Cancel`, `Call`. Child to parent: `Ready` once,
`Loading` and `Loaded`, then `Events` (what one step made for all requests, in one frame),
`Failed` and `Answer`. The child ends when its stdin ends.
"""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Event, Logprobs, Progress, Request, Text, Thinking

MAX_FRAME_BYTES = 256 << 20
_LENGTH = struct.Struct(">I")


class Load(Struct, frozen=True, tag="load"):
    spec: ModelSpec


class Generate(Struct, frozen=True, tag="generate"):
    id: int
    request: Request


class Cancel(Struct, frozen=True, tag="cancel"):
    id: int


class Call(Struct, frozen=True, tag="call"):
    """A question with one answer, such as "stats"."""

    id: int
    name: str
    arguments: dict[str, Any] = {}


class Ready(Struct, frozen=True, tag="ready"):
    pid: int


class Loading(Struct, frozen=True, tag="loading"):
    """How far the load is: 0 to 1."""

    fraction: float


class Loaded(Struct, frozen=True, tag="loaded"):
    """Facts about the model that only its library knows."""

    facts: dict[str, Any] = {}


class Events(Struct, frozen=True, tag="events"):
    items: list[tuple[int, Event]]


class Failed(Struct, frozen=True, tag="failed", omit_defaults=True):
    """One request failed; id 0 = loading did."""

    id: int
    code: str
    message: str
    param: str | None = None


class Answer(Struct, frozen=True, tag="answer"):
    id: int
    value: Any


ToChild = Load | Generate | Cancel | Call
ToParent = Ready | Loading | Loaded | Events | Failed | Answer

HOLDABLE = (Text, Thinking, Logprobs, Progress)
"""Events that may wait a few milliseconds to share a frame with the next ones."""

_encoder = msgspec.msgpack.Encoder()
_to_child = msgspec.msgpack.Decoder(ToChild)
_to_parent = msgspec.msgpack.Decoder(ToParent)


class BrokenFrame(Exception):
    """The other side sent bytes that are no frame."""


def encode(frame: ToChild | ToParent) -> bytes:
    """Raises BadRequest for a whole number of more than 64 bits, which no frame can carry."""
    try:
        body = _encoder.encode(frame)
    except OverflowError:
        raise BadRequest("A number in the request has more than 64 bits.") from None
    return _LENGTH.pack(len(body)) + body


def take_frames(buffer: bytearray) -> Iterator[bytes]:
    """The whole frames at the front of `buffer`, which keeps the rest."""
    start = 0
    while len(buffer) - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer, start)
        if length > MAX_FRAME_BYTES:
            raise BrokenFrame(f"a frame of {length} bytes")
        end = start + _LENGTH.size + length
        if len(buffer) < end:
            break
        yield bytes(buffer[start + _LENGTH.size : end])
        start = end
    del buffer[:start]


def decode_from_child(body: bytes) -> ToParent:
    try:
        return _to_parent.decode(body)
    except msgspec.MsgspecError as error:
        raise BrokenFrame(str(error)) from error


def read_from_parent(pipe: BinaryIO) -> ToChild | None:
    """The next frame, or None when the parent is gone."""
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    return _to_child.decode(pipe.read(length))
