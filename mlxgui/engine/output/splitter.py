"""A model family's writing, turned into typed events: thinking, text, tool calls, stop strings.

The states and their markers come from mlx-lm's TextStateMachine, handed in by the backend; what is
added here is the stop strings, whitespace around thoughts, and calls that never vanish.
"""

from typing import Any

from mlxgui.engine.output.tool_calls import CallReader, Piece, ToolParser, new_id
from mlxgui.engine.types import Event, FinishReason, Text, Thinking, ToolCall


class Splitter:
    """One choice's text, piece by piece.

    Args:
        machine: a TextStateMachine whose stop strings lead to the state None.
        initial: the state that the prompt left the model in: "normal" or "reasoning".
        stop: the stop strings, to name the one that ended the text.
        tool_parser: mlx-lm's parser of a call's text, where the model has one.
        tools: the tools of the request, in the template's shape.
        markers: what opens and closes a block of calls; part of raw text.
        max_calls: the text ends behind so many calls; 0 = no bound.
    """

    def __init__(
        self,
        machine: Any,
        *,
        initial: str = "normal",
        stop: list[str] | None = None,
        tool_parser: ToolParser | None = None,
        tools: list[dict[str, Any]] | None = None,
        markers: tuple[str, str] = ("", ""),
        max_calls: int = 0,
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
        self._markers = markers
        self._max_calls = max_calls
        self._reader: CallReader | None = None
        self._ids: set[str] = set()
        self._is_cut = False
        self._has_enough = False
        self._blank = True
        self._had_thinking = initial == "reasoning"
        self.calls = 0
        self.stop_text = ""

    @property
    def is_stopped(self) -> bool:
        """Nothing more will come of what is fed: a stop string, or the last call allowed."""
        return bool(self.stop_text) or self._has_enough

    @property
    def undecided(self) -> int:
        """Characters at the end of what was fed that are no text, or not yet: those of the stop
        string and behind it, or those that may become one."""
        return len(self.stop_text) + len(self._state[3]) if self._stop else 0

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
        if self._state[0] is None and not self._has_enough:
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
            self._end_calls(events, whole=stopped)
        return events

    def reason(self, ended: FinishReason) -> FinishReason:
        """Why the choice ended, to be asked after `finish`. `ended`: how its tokens did.

        A call that was cut short by the length is no reason to go and run it.
        """
        if self.calls and not (self._is_cut and ended == "length"):
            return "tool_calls"
        return "stop" if self.is_stopped else ended

    def _enter(self, state: str | None, events: list[Event]) -> None:
        if state == self._mode:
            return
        if self._mode == "tool" and state is not None:
            self._end_calls(events, whole=True, marker=self._markers[1])
        if state == "reasoning":
            self._had_thinking = True
        if state is not None:
            self._mode = state
            self._blank = True

    def _emit(self, state: str, piece: str, events: list[Event]) -> None:
        if self._has_enough:
            return
        if state == "tool":
            self._read_calls(piece, events)
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

    def _read_calls(self, piece: str, events: list[Event]) -> None:
        if self._reader is None:
            self._reader = self._new_reader()
        for part in self._reader.feed(piece):
            self._add(part, events)
        if not self._reader.is_open:
            self._count()

    def _new_reader(self) -> CallReader:
        return CallReader(self._parser, self._tools)

    def _end_calls(self, events: list[Event], *, whole: bool, marker: str = "") -> None:
        reader, self._reader, self._mode = self._reader or self._new_reader(), None, "normal"
        if self._has_enough:
            return
        pieces, raw, self._is_cut = reader.end(whole=whole)
        for piece in pieces:
            self._add(piece, events)
        self._count()
        # Malformed or cut short: who reads it gets the raw text rather than nothing.
        if raw == reader.text:
            raw = f"{self._markers[0]}{raw}{marker}"
        if raw:
            events.append(Text(raw, self._index))

    def _add(self, piece: Piece, events: list[Event]) -> None:
        if piece.name:
            self._count()
        if self._has_enough:
            return
        id = ""
        if piece.name:
            id = piece.id if piece.id and piece.id not in self._ids else new_id()
            self._ids.add(id)
            self.calls += 1
        event = ToolCall(self.calls - 1, id, piece.name, piece.arguments, self._index)
        events.append(event)

    def _count(self) -> None:
        self._has_enough = 0 < self._max_calls <= self.calls

    def _name_stop(self, rest: str) -> None:
        consumed = self._seen[: len(self._seen) - len(rest)]
        self.stop_text = next((s for s in self._stop if consumed.endswith(s)), "")
