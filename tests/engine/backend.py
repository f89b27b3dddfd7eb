"""Drives a backend without a process: what the worker's loop does, step by step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlxgui.engine.backends import make_backend
from mlxgui.engine.errors import EngineError
from mlxgui.engine.spec import LoadOptions, ModelSpec
from mlxgui.engine.types import Done, Event, Finished, GenerationRequest, Text, Thinking


class Result:
    """What became of one request."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: EngineError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def thinking(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Thinking))

    @property
    def reason(self) -> str:
        return next(event.reason for event in self.events if isinstance(event, Finished))

    @property
    def done(self) -> Done:
        assert isinstance(self.events[-1], Done), self.error or self.events[-1:]
        return self.events[-1]


def load_text(folder: Path, **options: Any) -> Any:
    context = options.pop("context_tokens", 4096)
    backend = make_backend("text")
    spec = ModelSpec(
        name=folder.name,
        path=str(folder),
        context_tokens=context,
        options=LoadOptions(**options),
    )
    backend.load(spec, lambda fraction: None)
    return backend


def run(
    backend: Any,
    requests: list[GenerationRequest],
    *,
    at_step: Callable[[int], None] = lambda step: None,
) -> list[Result]:
    """All of them side by side, until the last has ended. A refused one has only its error."""
    results = [Result() for _ in requests]
    for id, request in enumerate(requests, 1):
        try:
            backend.add(id, backend.prepare(request))
        except EngineError as error:
            results[id - 1].error = error
    step = 0
    while backend.is_busy:
        step += 1
        at_step(step)
        for id, output in backend.step():
            if isinstance(output, EngineError):
                results[id - 1].error = output
            else:
                results[id - 1].events.append(output)
    return results
