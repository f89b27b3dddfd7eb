"""A worker that nobody asks anything gives memory back, then writes; the next turn finds both."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlxgui.engine.backends.rest import BUFFERS_SECONDS, DISK_SECONDS, Rest
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model
STORY = "A long story of the sea. " * 60


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(text_model: Path, tmp_path: Path, clock: Clock) -> Any:
    folder = str(tmp_path / "kept")
    made = load_text(text_model, prompt_cache_folder=folder, prompt_cache_disk_bytes=1 << 30)
    made.rest = Rest(clock)
    return made


def test_buffers_stay_for_a_moment_and_then_go(backend: Any, clock: Clock) -> None:
    for _ in range(2):
        run(backend, [ask(STORY, max_tokens=4)])
        held = mx.get_cache_memory()
        assert held > 0
        assert backend.idle() and mx.get_cache_memory() == held  # the next turn may come at once
        clock.now += BUFFERS_SECONDS
        assert backend.idle() and mx.get_cache_memory() == 0


def test_the_disk_is_written_when_no_next_turn_came(backend: Any, clock: Clock) -> None:
    run(backend, [ask(STORY, max_tokens=4)])
    disk = backend.prompt_cache.disk
    assert backend.idle() and disk.pending_bytes == 0
    clock.now += DISK_SECONDS - 0.1
    run(backend, [ask(STORY + "And on.", max_tokens=4)])
    assert backend.idle()  # the rest begins anew
    clock.now += DISK_SECONDS - 0.1
    assert backend.idle() and disk.stats()["entries"] == disk.pending_bytes == 0
    clock.now += 0.1
    while backend.idle():
        pass
    assert disk.stats()["entries"] > 0
