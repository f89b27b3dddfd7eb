"""OpenAI's chat messages and tools → the engine's."""

from mlxgui.engine.types import Message, Part, Tool, ToolCallRecord
from mlxgui.wire.openai_body import MessageIn, ToolIn
from mlxgui.wire.parts import PartIn, part_from_openai


def messages_of(given: list[MessageIn]) -> list[Message]:
    """Raises BadRequest for a part that cannot be read, by its place."""
    return [_message(message, f"messages[{i}].content") for i, message in enumerate(given)]


def tools_of(given: list[ToolIn] | None) -> list[Tool]:
    specs = [tool.function for tool in given or []]
    return [Tool(s.name, s.description or "", s.parameters or {}) for s in specs]


def _message(given: MessageIn, param: str) -> Message:
    content = given.content if given.content is not None else ""
    return Message(
        role=given.role,
        content=content if isinstance(content, str) else _parts(content, param),
        name=given.name or "",
        reasoning=given.reasoning_content or given.reasoning or "",
        tool_calls=[
            ToolCallRecord(call.id, call.function.name, call.function.arguments)
            for call in given.tool_calls or []
        ],
        tool_call_id=given.tool_call_id or "",
    )


def _parts(given: list[PartIn], param: str) -> list[Part]:
    return [part_from_openai(part, f"{param}[{i}]") for i, part in enumerate(given)]
