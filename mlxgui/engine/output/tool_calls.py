"""One block of tool calls: read piece by piece where a family writes JSON, else as a whole.

As soon as the name of a call is known it is sent, then its arguments as they come, in the model's
own words. What is not (or not yet) recognised is held back until the block ends and then read by
the family's parser of mlx-lm; what that cannot read either comes back as raw text. So nothing is
lost, and nothing comes twice. Arguments that have been sent cannot be taken back: a call that
breaks off ends with what came of it, and text that follows a call and is none is raw text again.
"""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from msgspec import Struct

ToolParser = Callable[[str, Any], Any]

HEAD_CHARACTERS = 1000
"""A call whose name has not come by then is read as a whole."""


class Piece(Struct):
    """The start of a call (it has a name), or more of the arguments of the last one."""

    name: str = ""
    id: str = ""
    arguments: str = ""


class Shape(Struct, frozen=True):
    """One way to write calls with JSON arguments, around the arguments themselves."""

    head: re.Pattern[str]
    """Up to the arguments of the first call."""
    next: re.Pattern[str]
    """From there to those of the next."""
    end: re.Pattern[str]
    """What may follow the last."""


def _shape(before: str, head: str, after: str, between: str = "", end: str | None = None) -> Shape:
    return Shape(
        re.compile(rf"\s*{before}\s*{head}\s*(?=\{{)", re.S),
        re.compile(rf"\s*{after}\s*{between}\s*{head}\s*(?=\{{)", re.S),
        re.compile(rf"\s*{after if end is None else end}", re.S),
    )


_NEVER = r"(?!)"
_OBJECT = r'\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:'
_CLOSE = r'(?:,\s*"[^"\\]*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[\w.+-]+)\s*)*\}'
"""The end of such an object; an id or the like may come before it."""
_HEADER = r"(?P<name>[\w.-]+)\s*(?:\[CALL_ID\]\s*(?P<id>[\w-]+)\s*)?\[ARGS\]"
_KIMI = r"(?P<id>(?:functions\.)?(?P<name>[^\s:<|]+?):\d+)\s*<\|tool_call_argument_begin\|>"
SHAPES: dict[str, list[Shape]] = {
    "json_tools": [_shape("", _OBJECT, _CLOSE, _NEVER)],
    "mistral": [
        _shape(r"\[", _OBJECT, _CLOSE, ",", rf"{_CLOSE}\s*\]"),
        _shape("", _HEADER, r"(?:\[TOOL_CALLS\])?", "", ""),
    ],
    "kimi_k2": [
        _shape(
            r"(?:<\|tool_call_begin\|>)?", _KIMI, r"<\|tool_call_end\|>", r"<\|tool_call_begin\|>"
        )
    ],
}


def family_of(parser: ToolParser | None) -> str:
    """mlx-lm has a module for each family, named like it."""
    return getattr(parser, "__module__", "").rpartition(".")[2]


class CallReader:
    """Reads one block, from its start marker to its end marker or the end of the turn."""

    def __init__(self, parser: ToolParser | None, tools: list[dict[str, Any]]) -> None:
        self._parser = parser
        self._tools = tools
        self._shapes = SHAPES.get(family_of(parser), [])
        self._shape: Shape | None = None
        self.text = ""
        self._read = 0  # how much of the text has been sent, or stood around what was
        self._object: ObjectEnd | None = None
        self._started = 0

    @property
    def is_open(self) -> bool:
        """In the middle of a call's arguments."""
        return self._object is not None

    def feed(self, text: str) -> list[Piece]:
        self.text += text
        pieces: list[Piece] = []
        while self._arguments(pieces) or self._start(pieces):
            pass
        return pieces

    def end(self, *, whole: bool) -> tuple[list[Piece], str, bool]:
        """The calls still held back, the raw text that is no call, and whether one was cut short.

        Args:
            whole: the block ended by itself; else the text stopped in the middle.
        """
        if self._object is not None:
            return [], "", True
        calls = parse_calls(self.text, self._parser, self._tools) if whole else []
        if len(calls) > self._started:
            return calls[self._started :], "", False
        if self._shape and (end := self._shape.end.match(self.text, self._read)):
            self._read = end.end()
        rest = self.text[self._read :]
        return [], rest if rest.strip() or not self._started else "", False

    def _start(self, pieces: list[Piece]) -> bool:
        """The name of the next call, once it is there."""
        if self._object is not None or len(self.text) - self._read > HEAD_CHARACTERS:
            return False
        for shape in [self._shape] if self._shape else self._shapes:
            pattern = shape.next if self._shape else shape.head
            if found := pattern.match(self.text, self._read):
                name = _plain(found["name"])
                if not name:
                    return False
                self._shape, self._read, self._object = shape, found.end(), ObjectEnd()
                self._started += 1
                pieces.append(Piece(name, found.groupdict().get("id") or ""))
                return True
        return False

    def _arguments(self, pieces: list[Piece]) -> bool:
        """More of the arguments; whether they are whole now."""
        if self._object is None or self._read == len(self.text):
            return False
        end = self._object.find(self.text, self._read)
        pieces.append(Piece(arguments=self.text[self._read : end]))
        self._read = end
        if self._object.depth:
            return False
        self._object = None
        return True


class ObjectEnd:
    """Where a JSON object ends, over text that comes in pieces."""

    def __init__(self) -> None:
        self.depth = 0
        self._in_string = False
        self._escaped = False

    def find(self, text: str, start: int) -> int:
        """The index behind the closing brace, or the end of the text."""
        for index in range(start, len(text)):
            self._take(text[index])
            if not self.depth:
                return index + 1
        return len(text)

    def _take(self, letter: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped = letter == "\\"
            self._in_string = letter != '"'
        elif letter == '"':
            self._in_string = True
        elif letter in "{[":
            self.depth += 1
        elif letter in "}]":
            self.depth -= 1


def _plain(name: str) -> str:
    """A name as it stands, or out of its JSON string."""
    if not name.startswith('"'):
        return name
    try:
        return str(json.loads(name))
    except ValueError:
        return ""


def new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def parse_calls(
    text: str, parser: ToolParser | None, tools: list[dict[str, Any]] | None
) -> list[Piece]:
    """Each call of a whole block, arguments as JSON text; empty when it cannot be read."""
    if parser is None:
        return []
    known = {tool["function"]["name"] for tool in tools or []}
    try:
        parsed = parser(text, tools)
        found = parsed if isinstance(parsed, list) else [parsed]
        return [_call(call, known) for call in found]
    except Exception:  # a parser fails in its family's own ways; the raw text is the answer then
        # Some parsers find no arguments where a tool takes none.
        return [Piece(text.strip(), arguments="{}")] if text.strip() in known else []


def _call(call: dict[str, Any], known: set[str]) -> Piece:
    name, id = call["name"], call.get("id")
    arguments = call.get("arguments", call.get("parameters", {}))
    if not isinstance(name, str) or not name:
        raise TypeError("a call without a name")
    if name not in known and isinstance(arguments, dict) and arguments.keys() == {"raw"}:
        raise ValueError("GLM's parser makes a call of any text")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return Piece(name, id if isinstance(id, str) else "", arguments)
