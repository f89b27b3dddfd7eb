"""The worker's loop forgets a request however it ends, so that a long life costs nothing."""

import io

import pytest

from mlxgui.engine.backends import Output
from mlxgui.engine.backends.fake import FakeBackend
from mlxgui.engine.errors import EngineError
from mlxgui.engine.worker import Loop, Pipe
from tests.conftest import ask


class Failing(FakeBackend):
    """Accepts a request, then gives it up."""

    def step(self) -> list[Output]:
        (id,) = self.pending
        if self.said[id] < 0:
            return super().step()
        self.cancel(id)
        return [(id, EngineError("given up"))]


class Reading(FakeBackend):
    """Will read a long prompt next."""

    reads_next = True


@pytest.mark.parametrize("backend", [FakeBackend(), Reading()], ids=["free", "about to read"])
def test_what_is_held_does_not_wait_for_a_prompt_to_be_read(backend: FakeBackend) -> None:
    loop = Loop(backend, Pipe(io.BytesIO()))
    loop.add(1, backend.prepare(ask("hello big wide world")))
    for _ in range(3):  # that it began, its first word, and one more
        loop._step()
    assert bool(loop._held) is not isinstance(backend, Reading)


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_nothing_is_kept_of_a_request_that_ended(end: str) -> None:
    backend = Failing() if end == "failed" else FakeBackend()
    loop = Loop(backend, Pipe(io.BytesIO()))
    loop.add(1, backend.prepare(ask("hello world")))
    loop._step()
    assert loop._unheard == {1}
    if end == "cancelled":
        loop.cancel(1)
    while backend.is_busy:
        loop._step()
    loop._flush()
    assert not loop._unheard and not loop._held
