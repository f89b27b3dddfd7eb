"""A backend without a model, for tests: the same loop over the same pipe, with a knob for trouble.

The spec's path is the knob: `echo` says the last message word by word; `slow` the same, a word each
50 ms; `crash` ends the process after three words; `deaf` loads and never answers; `broken` fails to
load; `sleepy` takes a second to load.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from mlxgui.engine.backends import Output
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import Done, Finished, GenerationRequest, Started, Text, Usage

SLOW_SECONDS = 0.05
CRASH_AFTER_WORDS = 3


class FakeBackend:
    def __init__(self) -> None:
        self.mode = "echo"
        self.pending: dict[int, list[str]] = {}
        self.said: dict[int, int] = {}

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        self.mode = spec.path
        self.options = spec.options
        if self.mode == "broken":
            raise LoadFailed("This fake model never loads.")
        for part in range(4):
            report(part / 4)
            if self.mode == "sleepy":
                time.sleep(0.25)
        return {"fake": True}

    def prepare(self, request: GenerationRequest) -> list[str]:
        text = request.messages[-1].text if request.messages else request.prompt
        if not text.strip():
            raise BadRequest("There is nothing to echo.", param="messages")
        words = text.split()
        return words[: request.max_tokens] if request.max_tokens else words

    def add(self, id: int, prepared: list[str]) -> None:
        self.pending[id] = list(prepared)
        self.said[id] = -1

    def step(self) -> list[Output]:
        if self.mode == "slow":
            time.sleep(SLOW_SECONDS)
        if self.mode == "deaf":
            time.sleep(SLOW_SECONDS)
            return []
        out: list[Output] = []
        for id in list(self.pending):
            self._say(id, out)
        return out

    def _say(self, id: int, out: list[Output]) -> None:
        words, said = self.pending[id], self.said[id]
        self.said[id] += 1
        if said < 0:
            out.append((id, Started(prompt_tokens=len(words))))
        elif said < len(words):
            if self.mode == "crash" and said == CRASH_AFTER_WORDS:
                os._exit(9)
            out.append((id, Text(words[said] + ("" if said == len(words) - 1 else " "))))
        else:
            usage = Usage(prompt_tokens=len(words), completion_tokens=len(words))
            out.extend([(id, Finished("stop")), (id, Done(usage))])
            self.cancel(id)

    def cancel(self, id: int) -> None:
        self.pending.pop(id, None)
        self.said.pop(id, None)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "stats":
            return {"in_flight": len(self.pending)}
        if name == "load_options":
            return to_builtins(self.options)
        raise EngineError(f"A fake model has no {name}.")

    def idle(self) -> bool:
        return False

    def close(self, seconds: float) -> None:
        pass

    @property
    def is_busy(self) -> bool:
        return bool(self.pending)


def make() -> FakeBackend:
    return FakeBackend()
