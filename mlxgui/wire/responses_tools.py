"""Custom tools and namespaces of /v1/responses.

A custom tool takes a text as it stands: to the model it is a function whose one argument is a text.
A namespace holds several tools: to the model each has the namespace in its name. To the client both
are what it asked for.

Source: OpenAI's API reference (responses).
"""

from typing import Any

import msgspec

from mlxgui.wire.responses_body import OneToolIn, ToolIn

FREE_TEXT: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def full_name(namespace: str | None, name: str) -> str:
    """As the model knows it."""
    return f"{namespace}__{name}" if namespace else name


def flat(tools: list[ToolIn] | None) -> list[tuple[str, OneToolIn, str]]:
    """(namespace or "", tool, where it stands in the body), without the namespaces themselves."""
    found: list[tuple[str, OneToolIn, str]] = []
    for i, tool in enumerate(tools or []):
        if tool.type == "namespace":
            inner = enumerate(tool.tools or [])
            found += [(tool.name, one, f"tools[{i}].tools[{j}]") for j, one in inner]
        else:
            found.append(("", tool, f"tools[{i}]"))
    return found


def told_of(tool: OneToolIn) -> str:
    """What the model reads about it; a grammar it is told in words."""
    said = tool.description or ""
    if tool.format is None or tool.format.type != "grammar":
        return said
    rules = f"The input must match this {tool.format.syntax or 'lark'} grammar:"
    return f"{said}\n\n{rules}\n{tool.format.definition}".strip()


def unenforced(tools: list[ToolIn]) -> list[str]:
    """Warnings about grammars that nothing but the model's own care will keep."""
    return [
        f"{where}.format is told to the model, not enforced"
        for _, tool, where in flat(tools)
        if tool.format is not None and tool.format.type == "grammar"
    ]


def arguments_of(text: str) -> str:
    """A text as the function's arguments."""
    return msgspec.json.encode({"input": text}).decode()


def text_of(arguments: str) -> str:
    """The text in a function's arguments, or what there is of it where they were cut short; what is
    of another shape, as it stands."""
    for ending in ("", '"}', "}"):
        try:
            found = msgspec.json.decode(arguments + ending)
        except msgspec.DecodeError:
            continue
        text = found.get("input") if isinstance(found, dict) else None
        return text if isinstance(text, str) else arguments
    return arguments
