"""The items of a response as they are written: each opens, grows and closes behind its events."""

from typing import Any

from mlxgui.engine.types import Event, Logprobs, Text, Thinking, TokenProb, ToolCall
from mlxgui.wire.responses_body import OneToolIn
from mlxgui.wire.responses_items import seal
from mlxgui.wire.responses_tools import text_of

Said = tuple[str, dict[str, Any]]
"""An event's name, and what it says beside type and number."""


class Writer:
    """One item is open at a time: an event of another kind closes it and opens the next.

    Args:
        output: the response's own list, which grows.
        response_id: every item's id is made from it, so that an item can be found by its own.
        has_summary: thoughts are told as a summary, which clients show, instead of as raw text.
        is_sealed: thoughts also come in a form that a client can keep and send back.
        tools: namespace and tool by the name that the model knows. A custom tool's input is a text,
            which comes in one piece: it is known when the model has written all of its arguments.
    """

    def __init__(
        self,
        output: list[dict[str, Any]],
        response_id: str,
        *,
        has_summary: bool = False,
        is_sealed: bool = False,
        tools: dict[str, tuple[str, OneToolIn]] | None = None,
    ) -> None:
        self._output = output
        self._id = response_id.removeprefix("resp_")
        self._has_summary = has_summary
        self._is_sealed = is_sealed
        self._tools = tools or {}
        self._kind = ""
        self._text: list[str] = []
        self._probs: list[dict[str, Any]] = []
        self._new_probs: list[dict[str, Any]] = []

    def feed(self, event: Event) -> list[Said]:
        match event:
            case Text(text):
                said = self._open("message", self._message)
                return [*said, self._delta("response.output_text.delta", text)]
            case Thinking(text):
                said = self._open("reasoning", self._reasoning)
                about = "reasoning_summary_text" if self._has_summary else "reasoning_text"
                return [*said, self._delta(f"response.{about}.delta", text)]
            case ToolCall():
                said = self._open(f"call {event.position}", lambda: self._call(event))
                if "input" in self._output[-1]:
                    self._text.append(event.arguments)
                    return said
                name = "response.function_call_arguments.delta"
                return [*said, self._delta(name, event.arguments)] if event.arguments else said
            case Logprobs(tokens):
                found = [prob_object(token, with_top=True) for token in tokens]
                self._new_probs += found
        return []

    def close(self, *, is_whole: bool = True) -> list[Said]:
        """End the open item. `is_whole`: it says all that it was to say."""
        if not self._kind:
            return []
        kind, self._kind = self._kind, ""
        item, text = self._output[-1], "".join(self._text)
        item["status"] = "completed" if is_whole else "incomplete"
        if kind == "message":
            said = self._end_message(item, text)
        elif kind == "reasoning":
            said = self._end_reasoning(item, text)
        elif "input" in item:
            item["input"] = text_of(text)
            event = "response.custom_tool_call_input"
            said = [
                self._of_item(f"{event}.delta", {"delta": item["input"]}),
                self._of_item(f"{event}.done", {"input": item["input"]}),
            ]
        else:
            item["arguments"] = text or "{}"
            about = {"arguments": item["arguments"], "name": item["name"]}
            said = [self._of_item("response.function_call_arguments.done", about)]
        self._text, self._probs = [], []
        return [*said, ("response.output_item.done", self._whole(item))]

    # -- opening ----------------------------------------------------------------------------------

    def _open(self, kind: str, make: Any) -> list[Said]:
        if kind == self._kind:
            return []
        said = self.close()
        self._kind = kind
        item, more = make()
        self._output.append(item)
        added = ("response.output_item.added", self._whole(dict(item)))
        return [*said, added, *more()]

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._id}o{len(self._output):03d}"

    def _message(self) -> tuple[dict[str, Any], Any]:
        item = {
            "id": self._item_id("msg"),
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return item, lambda: [self._of_part("response.content_part.added", {"part": part})]

    def _reasoning(self) -> tuple[dict[str, Any], Any]:
        item: dict[str, Any] = {
            "id": self._item_id("rs"),
            "type": "reasoning",
            "summary": [],
            "content": [],
            "status": "in_progress",
        }
        part = {"type": "summary_text" if self._has_summary else "reasoning_text", "text": ""}
        name = "reasoning_summary_part" if self._has_summary else "content_part"
        return item, lambda: [self._of_part(f"response.{name}.added", {"part": part})]

    def _call(self, call: ToolCall) -> tuple[dict[str, Any], Any]:
        namespace, tool = self._tools.get(call.name, ("", None))
        is_free = tool is not None and tool.type == "custom"
        item = {
            "id": self._item_id("ctc" if is_free else "fc"),
            "type": "custom_tool_call" if is_free else "function_call",
            "status": "in_progress",
            "call_id": call.id,
            "name": tool.name if tool else call.name,
            **({"namespace": namespace} if namespace else {}),
            "input" if is_free else "arguments": "",
        }
        return item, list

    # -- closing ----------------------------------------------------------------------------------

    def _end_message(self, item: dict[str, Any], text: str) -> list[Said]:
        probs = self._probs + self._new_probs
        self._new_probs = []
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": probs}
        item["content"] = [part]
        return [
            self._of_part("response.output_text.done", {"text": text, "logprobs": probs}),
            self._of_part("response.content_part.done", {"part": part}),
        ]

    def _end_reasoning(self, item: dict[str, Any], text: str) -> list[Said]:
        if self._is_sealed:
            item["encrypted_content"] = seal(text)
        if self._has_summary:
            item["summary"] = [{"type": "summary_text", "text": text}]
            part, about = item["summary"][0], "reasoning_summary_text"
            name = "reasoning_summary_part"
        else:
            item["content"] = [{"type": "reasoning_text", "text": text}]
            part, about, name = item["content"][0], "reasoning_text", "content_part"
        return [
            self._of_part(f"response.{about}.done", {"text": text}),
            self._of_part(f"response.{name}.done", {"part": part}),
        ]

    # -- what every event says --------------------------------------------------------------------

    def _delta(self, name: str, text: str) -> Said:
        self._text.append(text)
        about: dict[str, Any] = {"delta": text}
        probs, self._new_probs = self._new_probs, []
        if self._kind.startswith("call"):
            return self._of_item(name, about)
        if self._kind == "message":
            about["logprobs"] = probs
            self._probs += probs
        return self._of_part(name, about)

    def _whole(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"output_index": len(self._output) - 1, "item": item}

    def _of_item(self, name: str, about: dict[str, Any]) -> Said:
        place = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
        return name, {**place, **about}

    def _of_part(self, name: str, about: dict[str, Any]) -> Said:
        index = "summary_index" if "summary" in name else "content_index"
        return self._of_item(name, {index: 0, **about})


def prob_object(token: TokenProb, *, with_top: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.text.encode()),
    }
    if with_top:
        found["top_logprobs"] = [prob_object(other) for other in token.alternatives]
    return found
