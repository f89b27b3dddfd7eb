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
