"""What comes out of a model that thinks, writes, and calls a tool in pieces."""

import json
from typing import Any

from mlxgui.engine.types import (
    Done,
    Event,
    Finished,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from mlxgui.wire import Dialect, Parsed
from mlxgui.wire.reply import Reply

TURN: list[Event] = [
    Started(12, 4),
    Thinking("Let me "),
    Thinking("think."),
    Text("It "),
    Text("rains."),
    ToolCall(0, "call_1", "look", '{"city":'),
    ToolCall(0, arguments='"Rome"}'),
    ToolCall(1, "call_2", "clock", "{}"),
    Finished("tool_calls"),
    Done(Usage(12, 9, 4, 3)),
]


def frames(dialect: Dialect, parsed: Parsed, events: list[Event]) -> list[tuple[str, Any]]:
    """(name, JSON) of every server-sent event."""
    encoder = dialect.encoder(parsed)
    raw = b"".join(encoder.feed(event) for event in events).decode()
    return split(raw)


def split(raw: str) -> list[tuple[str, Any]]:
    found = []
    for block in raw.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


def whole(dialect: Dialect, parsed: Parsed, events: list[Event]) -> Any:
    reply = Reply()
    for event in events:
        reply.add(event)
    return json.loads(dialect.complete(parsed, reply))
