"""A model family's writing, turned into typed events: thinking, text, tool calls, stop strings.

The states and their markers come from mlx-lm's TextStateMachine, handed in by the backend; what is
added here is the stop strings, whitespace around thoughts, and calls that never vanish.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any

from mlxgui.engine.types import Event, Text, Thinking, ToolCall

ToolParser = Callable[[str, Any], Any]


class Splitter:
    """One choice's text, piece by piece.

    Args:
        machine: a TextStateMachine whose stop strings lead to the state None.
        initial: the state that the prompt left the model in: "normal" or "reasoning".
        stop: the stop strings, to name the one that ended the text.
        tool_parser: mlx-lm's parser of a call's text, where the model has one.
        tools: the tools of the request, in the template's shape.
    """

    def __init__(
        self,
        machine: Any,
        *,
        initial: str = "normal",
        stop: list[str] | None = None,
        tool_parser: ToolParser | None = None,
        tools: list[dict[str, Any]] | None = None,
        index: int = 0,
    ) -> None:
        self._machine = machine
        self._state = machine.make_state(initial)
        self._mode = initial
        self._stop = sorted(stop or [], key=len, reverse=True)
        self._parser = tool_parser
        self._tools = tools or []
        self._index = index
        self._seen = ""
        self._call_text = ""
        self._blank = True
        self._had_thinking = initial == "reasoning"
        self.calls = 0
        self.stop_text = ""

    @property
    def is_stopped(self) -> bool:
        return bool(self.stop_text)

    @property
    def is_thinking(self) -> bool:
        return bool(self._mode == "reasoning")

    def feed(self, text: str) -> list[Event]:
        """Events of the next piece of decoded text; none after a stop string."""
        if self.is_stopped or not text:
            return []
        if self._stop:
            self._seen += text
        self._state, segments = self._machine.split(self._state, text)
        events: list[Event] = []
        for state, piece in segments:
            self._enter(state, events)
            if state is not None and piece:
                self._emit(state, piece, events)
        if self._state[0] is None:
            self._name_stop(self._state[3])
        return events

    def finish(self, *, stopped: bool) -> list[Event]:
        """What was held back. `stopped`: at a token that ends the turn; else the text was cut."""
        events: list[Event] = []
        if not self.is_stopped:
            self._state, rest, state = self._machine.flush(self._state)
            if rest and state is not None:
                self._emit(state, rest, events)
        if self._mode == "tool":
            # Some families have no end marker: the call ends with the turn.
            self._end_call(events, whole=stopped)
        return events

    def _enter(self, state: str | None, events: list[Event]) -> None:
        if state == self._mode:
            return
        if self._mode == "tool" and state is not None:
            self._end_call(events, whole=True)
        if state == "reasoning":
            self._had_thinking = True
        if state is not None:
            self._mode = state
            self._blank = True

    def _emit(self, state: str, piece: str, events: list[Event]) -> None:
        if state == "tool":
            self._call_text += piece
            return
        # Templates put newlines around a thought and before the answer that follows it.
        if self._blank and (state == "reasoning" or self._had_thinking):
            piece = piece.lstrip()
            if not piece:
                return
        self._blank = False
        if state == "reasoning":
            events.append(Thinking(piece, self._index))
        else:
            events.append(Text(piece, self._index))

    def _end_call(self, events: list[Event], *, whole: bool) -> None:
        text, self._call_text = self._call_text, ""
        self._mode = "normal"
        calls = parse_calls(text, self._parser, self._tools) if whole else []
        if not calls and text.strip():
            # Malformed or cut short: the reader gets the raw text rather than nothing.
            events.append(Text(text, self._index))
        for name, arguments in calls:
            id = f"call_{uuid.uuid4().hex[:24]}"
            events.append(ToolCall(self.calls, id, name, arguments, self._index))
            self.calls += 1

    def _name_stop(self, rest: str) -> None:
        consumed = self._seen[: len(self._seen) - len(rest)]
        self.stop_text = next((s for s in self._stop if consumed.endswith(s)), "")


def parse_calls(text: str, parser: ToolParser | None, tools: Any) -> list[tuple[str, str]]:
    """(name, arguments as JSON text) of each call in `text`; empty when it cannot be read."""
    if parser is None:
        return []
    try:
        parsed = parser(text, tools)
        found = parsed if isinstance(parsed, list) else [parsed]
        return [_call(call) for call in found]
    except Exception:  # a parser fails in its family's own ways; the raw text is the answer then
        return []


def _call(call: dict[str, Any]) -> tuple[str, str]:
    arguments = call.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not isinstance(call["name"], str):
        raise TypeError("a call without a name")
    return call["name"], arguments
