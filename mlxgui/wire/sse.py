"""Server-sent events: how they are framed."""

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def named(name: str, value: Any) -> bytes:
    """An event with a name of its own, as Anthropic and OpenAI's responses send them."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(value))


def data(value: Any) -> bytes:
    return b"data: %s\n\n" % _encode(value)
