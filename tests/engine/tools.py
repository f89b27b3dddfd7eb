"""The tools of the transcripts, and events as plain rows."""

from typing import Any

from mlxgui.engine.types import Event, Text, Thinking, Tool, ToolCall


def object_of(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


STOP = object_of(["city", "days"], city={"type": "string"}, days={"type": "integer"})
TOOLS = [
    Tool(
        "get_weather",
        "The weather",
        object_of(
            ["city"], city={"type": "string"}, days={"type": "integer", "minimum": 1, "maximum": 9}
        ),
    ),
    Tool("note", "Keep a note", object_of(["text"], text={"type": "string"})),
    Tool("ping", "Is anybody there?", object_of([])),
    Tool(
        "plan",
        "Plan a journey",
        object_of(
            ["stops"],
            stops={"type": "array", "items": STOP, "maxItems": 2},
            options=object_of([], rail={"type": "boolean"}),
        ),
    ),
]


def joined(events: list[Event]) -> list[list[str]]:
    """Neighbours of a kind, and the pieces of a call, as one: where the text was cut is gone."""
    rows: list[list[str]] = []
    for event in events:
        if isinstance(event, ToolCall):
            if event.name:
                rows.append(["call", event.name, ""])
            assert rows[-1][0] == "call", "arguments without a call"
            rows[-1][2] += event.arguments
        elif isinstance(event, Text | Thinking):
            kind = type(event).__name__.lower()
            if rows and rows[-1][0] == kind:
                rows[-1][1] += event.text
            else:
                rows.append([kind, event.text])
    return rows
