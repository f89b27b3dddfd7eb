"""A worker that nobody asks anything gives back what it does not need."""

from pathlib import Path

import mlx.core as mx
import pytest

from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model


def test_buffers_stay_for_a_moment_and_then_go(text_model: Path) -> None:
    backend = load_text(text_model, prompt_cache_bytes=0)
    run(backend, [ask("Hello", max_tokens=4)])
    while backend.prompt_cache.idle():
        pass
    held = mx.get_cache_memory()
    assert held > 0
    assert backend.idle() and mx.get_cache_memory() == held  # the next turn may come at once
    assert not backend.idle() and mx.get_cache_memory() == 0
    run(backend, [ask("And again", max_tokens=4)])
    assert mx.get_cache_memory() > 0
    assert backend.idle() and not backend.idle() and mx.get_cache_memory() == 0
