"""Items of /v1/responses → messages. A turn of the assistant is several items there: its thoughts,
its text and its calls; here it is one message."""

import base64
import binascii

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import ImagePart, Message, Part, TextPart, ToolCallRecord
from mlxgui.wire.parts import PartIn, part_from_openai
from mlxgui.wire.responses_body import ItemIn
from mlxgui.wire.responses_tools import arguments_of, full_name

SEALED = "mlxgui1."
"""Before a thought that a client keeps for us: plain base64, since there is nothing to hide."""


def seal(thought: str) -> str:
    return SEALED + base64.b64encode(thought.encode()).decode()


def unseal(sealed: str) -> str:
    """Another server's secret is empty to us."""
    try:
        return base64.b64decode(sealed.removeprefix(SEALED)).decode() if SEALED in sealed else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def messages_of(items: list[ItemIn], param: str = "input") -> list[Message]:
    """`param` names the list in errors. Raises BadRequest."""
    turns = _Turns()
    for i, item in enumerate(items):
        turns.add(item, f"{param}[{i}]")
    return turns.finish()


class _Turns:
    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._thoughts: list[str] = []
        self._content: str | list[Part] = ""
        self._calls: list[ToolCallRecord] = []

    def add(self, item: ItemIn, param: str) -> None:
        match item.type:
            case "reasoning":
                if self._content or self._calls:
                    self._flush()
                self._thoughts.append(_thought(item))
            case "function_call":
                if not item.call_id or not item.name:
                    raise BadRequest("A function_call needs call_id and name.", param=param)
                arguments = item.arguments or "{}"
                name = full_name(item.namespace, item.name)
                self._calls.append(ToolCallRecord(item.call_id, name, arguments))
            case "custom_tool_call":
                if not item.call_id or not item.name or item.input is None:
                    said = "A custom_tool_call needs call_id, name and input."
                    raise BadRequest(said, param=param)
                arguments = arguments_of(item.input)
                name = full_name(item.namespace, item.name)
                self._calls.append(ToolCallRecord(item.call_id, name, arguments))
            case "function_call_output" | "custom_tool_call_output":
                self._flush()
                self._result(item, param)
            case "item_reference":
                raise BadRequest(f"Item “{item.id}” is not stored here.", param=f"{param}.id")
            case _:
                self._message(item, param)

    def finish(self) -> list[Message]:
        self._flush()
        return self._messages

    def _message(self, item: ItemIn, param: str) -> None:
        if item.role is None:
            raise BadRequest("A message needs a role.", param=f"{param}.role")
        content = _content(item.content, f"{param}.content")
        if item.role == "tool":
            self._flush()
            self._messages.append(Message("tool", content, tool_call_id=item.tool_call_id or ""))
            return
        if item.role != "assistant":
            self._flush()
            self._messages.append(Message(item.role, content))
            return
        if self._content or self._calls:
            self._flush()
        self._content = content
        self._calls += [
            ToolCallRecord(call.id, call.function.name, call.function.arguments)
            for call in item.tool_calls or []
        ]

    def _result(self, item: ItemIn, param: str) -> None:
        """A tool's output; its images follow as the user's own."""
        if not item.call_id or item.output is None:
            raise BadRequest(f"A {item.type} needs call_id and output.", param=param)
        content = _content(item.output, f"{param}.output")
        if isinstance(content, str):
            self._messages.append(Message("tool", content, tool_call_id=item.call_id))
            return
        text = "".join(part.text for part in content if isinstance(part, TextPart))
        images: list[Part] = [part for part in content if isinstance(part, ImagePart)]
        self._messages.append(Message("tool", text, tool_call_id=item.call_id))
        self._messages.append(Message("user", images))

    def _flush(self) -> None:
        if self._content or self._calls or self._thoughts:
            thoughts = "\n".join(filter(None, self._thoughts))
            self._messages.append(
                Message("assistant", self._content, reasoning=thoughts, tool_calls=self._calls)
            )
        self._thoughts, self._content, self._calls = [], "", []


def _thought(item: ItemIn) -> str:
    given = item.content if isinstance(item.content, list) else []
    text = "".join(part.text for part in given or item.summary or [])
    return text or unseal(item.encrypted_content or "")


def _content(given: str | list[PartIn] | None, param: str) -> str | list[Part]:
    if given is None or isinstance(given, str):
        return given or ""
    parts = [part_from_openai(part, f"{param}[{i}]") for i, part in enumerate(given)]
    if all(isinstance(part, TextPart) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return parts
