"""Anthropic's messages → the engine's. Tool results, which come inside a user's message there, are
messages of their own here."""

import msgspec

from mlxgui.engine.errors import Unsupported
from mlxgui.engine.types import ImagePart, Message, Part, TextPart, ToolCallRecord
from mlxgui.wire.anthropic_body import (
    CountBody,
    DocumentIn,
    ImageIn,
    MessageIn,
    RedactedIn,
    SearchResultIn,
    Seen,
    TextIn,
    ThinkingIn,
    ToolResultIn,
    ToolUseIn,
)
from mlxgui.wire.parts import image_from_anthropic


def conversation(given: CountBody) -> list[Message]:
    messages: list[Message] = []
    if given.system:
        text = given.system
        whole = text if isinstance(text, str) else "\n".join(block.text for block in text)
        messages.append(Message("system", whole))
    for i, message in enumerate(given.messages):
        messages += _messages(message, f"messages[{i}].content")
    return messages


def _messages(given: MessageIn, param: str) -> list[Message]:
    if isinstance(given.content, str):
        return [Message(given.role, given.content)]
    results: list[Message] = []
    parts: list[Part] = []
    reasoning: list[str] = []
    calls: list[ToolCallRecord] = []
    for i, block in enumerate(given.content):
        where = f"{param}[{i}]"
        match block:
            case ToolResultIn():
                text, images = _result(block, where)
                results.append(Message("tool", text, tool_call_id=block.tool_use_id))
                parts += images
            case ToolUseIn(id, name, arguments):
                calls.append(ToolCallRecord(id, name, msgspec.json.encode(arguments).decode()))
            case ThinkingIn(thinking):
                reasoning.append(thinking)
            case RedactedIn():
                pass
            case _:
                parts += _parts(block, where)
    content = _content(parts)
    if content or calls or reasoning or not results:
        own = Message(given.role, content, reasoning="\n".join(reasoning), tool_calls=calls)
        return [*results, own]
    return results


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone is one string, which every chat template understands."""
    if all(isinstance(part, TextPart) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return parts


def _result(block: ToolResultIn, param: str) -> tuple[str, list[Part]]:
    """Its text; and its images, which follow in the user's own message."""
    given = block.content or ""
    if isinstance(given, str):
        text, images = given, []
    else:
        parts = [
            part for i, seen in enumerate(given) for part in _parts(seen, f"{param}.content[{i}]")
        ]
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        images = [part for part in parts if isinstance(part, ImagePart)]
    return (f"Error: {text}" if block.is_error else text), list(images)


def _parts(block: Seen, param: str) -> list[Part]:
    match block:
        case TextIn(text):
            return [TextPart(text)]
        case ImageIn(source):
            return [image_from_anthropic(source, f"{param}.source")]
        case SearchResultIn():
            text = "\n".join(part.text for part in block.content)
            return [TextPart("\n".join(filter(None, (block.title, block.source, text))))]
        case DocumentIn():
            return _document(block, param)


def _document(block: DocumentIn, param: str) -> list[Part]:
    source = block.source
    head = "\n".join(filter(None, (block.title, block.context)))
    parts: list[Part] = [TextPart(f"{head}\n")] if head else []
    if source.type == "text":
        return [*parts, TextPart(source.data)]
    if source.type == "content":
        if isinstance(source.content, str):
            return [*parts, TextPart(source.content)]
        inner = (
            _parts(one, f"{param}.source.content[{i}]") for i, one in enumerate(source.content)
        )
        return [*parts, *(part for found in inner for part in found)]
    raise Unsupported(
        "Documents are read as plain text: send a source of type “text” or “content”.",
        param=f"{param}.source.type",
    )
