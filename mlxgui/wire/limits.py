"""What a body may be: its content type, and how deeply its JSON is nested."""

import re

from mlxgui.engine.errors import BadRequest
from mlxgui.wire.errors import Refused

MAX_DEPTH = 100
"""Levels of lists and objects in one another. The deepest schemas of real tools have about 20."""

_FORM = "application/x-www-form-urlencoded"
_READ_AS_JSON = ("", "application/json", "text/json", "text/plain")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_SPACE = b" \t\r\n"


def check_type(content_type: str, body: bytes) -> None:
    """Raises Refused (415) unless `body` may be meant as JSON.

    A missing type is taken for JSON, and so is what `curl -d` says unasked, if it looks like JSON.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body or kind in _READ_AS_JSON or kind.endswith("+json"):
        return
    if kind == _FORM and body.lstrip(_SPACE)[:1] in (b"{", b"["):
        return
    raise Refused(
        415,
        "unsupported_media_type",
        f"The body is sent as {kind[:100]}; send JSON with Content-Type: application/json.",
    )


def check_depth(body: bytes) -> None:
    """Raises BadRequest for JSON that is nested more than MAX_DEPTH levels deep."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    brackets = _TEXT.sub(b"", _ESCAPED.sub(b"", body).translate(None, _NOT_BRACKETS))
    depth = 0
    for byte in brackets:
        depth += 1 if byte in b"{[" else -1
        if depth > MAX_DEPTH:
            raise BadRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")
