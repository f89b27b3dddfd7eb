"""System prompts that are read ahead, so that the first conversation finds them read."""

from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import EngineError
from mlxgui.engine.types import Done, GenerationRequest, Message, Sampling, Started
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

PROMPT = "You are a patient teacher. " * 12


def conversation(question: str) -> GenerationRequest:
    return GenerationRequest(
        messages=[Message("system", PROMPT), Message("user", question)],
        sampling=Sampling(temperature=0),
        max_tokens=8,
    )


def finish(backend: Any) -> None:
    """What the worker's loop does with nothing to do."""
    while backend.idle() or backend.is_busy:
        while backend.is_busy:
            for id, output in backend.step():
                assert id < 0 and not isinstance(output, EngineError)


def test_a_first_conversation_finds_its_system_prompt_read(text_model: Path) -> None:
    cold = load_text(text_model)
    expected = run(cold, [conversation("Why?")])[0]
    warm = load_text(text_model, warm_prompts=[PROMPT, "  "])
    assert warm.idle()  # there is something to read
    finish(warm)
    got = run(warm, [conversation("Why?")])[0]
    started = next(event for event in got.events if isinstance(event, Started))
    assert started.cache.tier == "memory"
    assert started.cached_tokens > 0.8 * len(warm.tokenizer.encode(PROMPT))
    assert got.text == expected.text


def test_a_request_that_comes_meanwhile_is_answered(text_model: Path) -> None:
    backend = load_text(text_model, warm_prompts=[PROMPT * 4], prefill_step_tokens=32)
    assert backend.idle()
    backend.step()
    backend.add(7, backend.prepare(conversation("Now!")))
    seen: list[Any] = []
    while backend.is_busy:
        seen += [(id, event) for id, event in backend.step()]
    mine = [event for id, event in seen if id == 7]
    assert isinstance(mine[-1], Done)
    ended = [id for id, event in seen if isinstance(event, Done)]
    assert ended == [7, -1]
