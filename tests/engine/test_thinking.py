from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxgui.engine.types import Logprobs, Sampling
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def backend(thinking_model: Path) -> Iterator[Any]:
    yield load_text(thinking_model)


def allowed(matcher: Any, words: int = 2) -> list[int]:
    bits = np.full(words, -1, np.int32)
    matcher.fill(bits)
    return [i for i in range(words * 32) if bits.view(np.uint32)[i >> 5] >> (i & 31) & 1]


def test_after_the_budget_only_the_end_may_come() -> None:
    from mlxgui.engine.backends.thinking import ThinkingBudget

    matcher = ThinkingBudget(2, (1,), (8, 9), is_open=True)
    assert len(allowed(matcher)) == 64
    matcher.consume(5)
    assert len(allowed(matcher)) == 64
    matcher.consume(8)  # the model begins the end by itself
    assert allowed(matcher) == [9]
    matcher.consume(9)
    assert len(allowed(matcher)) == 64
    matcher.consume(1)  # a second thought: the budget is spent
    assert allowed(matcher) == [8]
    matcher.consume(8)
    assert allowed(matcher) == [9]


def test_a_thought_is_closed_at_its_budget_in_a_real_model(backend: Any) -> None:
    tokenizer = backend.tokenizer
    eager = ask(
        "Hi",
        sampling=Sampling(
            temperature=0,
            logit_bias={tokenizer.think_start_id: 100.0, tokenizer.think_end_id: -100.0},
        ),
        max_tokens=20,
        thinking_budget=6,
        logprobs=0,
    )
    free = ask("Hi", sampling=Sampling(temperature=0), max_tokens=20)
    want = run(backend, [free])[0].text
    bounded, other = run(backend, [eager, free])
    assert other.text == want
    ids = [t.id for event in bounded.events if isinstance(event, Logprobs) for t in event.tokens]
    # The bias opens the thought and forbids its end; the budget closes it all the same.
    assert ids[0] == tokenizer.think_start_id
    assert ids.index(tokenizer.think_end_id) == 7


def test_a_budget_without_thinking_changes_nothing(backend: Any) -> None:
    plain = ask("What is a class?", sampling=Sampling(temperature=0), max_tokens=12)
    bounded = ask(
        "What is a class?", sampling=Sampling(temperature=0), max_tokens=12, thinking_budget=3
    )
    assert run(backend, [plain])[0].text == run(backend, [bounded])[0].text
