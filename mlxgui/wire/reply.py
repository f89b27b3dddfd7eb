"""A whole answer, gathered from its events."""

from msgspec import Struct

from mlxgui.engine.types import (
    Done,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Started,
    Text,
    Thinking,
    Timing,
    TokenProb,
    ToolCall,
    Usage,
    Warned,
)


class Choice(Struct):
    text: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenProb] = []
    finish_reason: FinishReason = "stop"
    stop_text: str = ""


class Reply(Struct):
    choices: dict[int, Choice] = {}
    usage: Usage = Usage()
    timing: Timing = Timing()
    started: Started | None = None
    warnings: list[str] = []

    def add(self, event: Event) -> None:
        match event:
            case Text(text, index):
                self.choice(index).text += text
            case Thinking(text, index):
                self.choice(index).thinking += text
            case Logprobs(tokens, index):
                self.choice(index).logprobs.extend(tokens)
            case ToolCall():
                self._add_call(event)
            case Finished(reason, stop_text, index):
                choice = self.choice(index)
                choice.finish_reason, choice.stop_text = reason, stop_text
            case Done(usage, timing):
                self.usage, self.timing = usage, timing
            case Started():
                self.started = event
            case Warned(message):
                self.warnings.append(message)

    def choice(self, index: int) -> Choice:
        return self.choices.setdefault(index, Choice())

    def _add_call(self, event: ToolCall) -> None:
        calls = self.choice(event.index).tool_calls
        if event.position == len(calls):
            calls.append(event)
        else:
            last = calls[event.position]
            calls[event.position] = ToolCall(
                last.position, last.id, last.name, last.arguments + event.arguments, last.index
            )
