"""Guesses are made while they save time, and tried again later where they do not."""

from pathlib import Path

import pytest

from mlxgui.engine.backends.pace import MAX_PAUSE_TOKENS, PAUSE_TOKENS, ROUNDS, Pace
from mlxgui.engine.types import Sampling
from tests import tiny
from tests.conftest import ask
from tests.engine.backend import load_text, run


def steps(pace: Pace, count: int, seconds: float = 0.01) -> None:
    for _ in range(count):
        pace.saw_step(seconds)


def rounds(pace: Pace, seconds: float, tokens: int) -> None:
    for _ in range(ROUNDS):
        pace.saw_round(seconds, tokens)


def started() -> Pace:
    pace = Pace()
    steps(pace, 4)
    pace.saw_round(9.0, 1)  # the first compiles kernels and does not count
    return pace


def test_nothing_is_guessed_before_it_is_known_what_a_token_takes() -> None:
    pace = Pace()
    assert pace.is_off
    steps(pace, 4)
    assert not pace.is_off


def test_guesses_go_on_while_they_save_time() -> None:
    pace = started()
    for _ in range(5):
        rounds(pace, 0.025, 3)
        assert not pace.is_off
    assert pace.stats()["seconds_per_token_with_draft"] == pytest.approx(0.025 / 3)


def test_while_they_lose_the_pause_doubles_up_to_a_bound() -> None:
    pace = started()
    expected = PAUSE_TOKENS
    for _ in range(8):
        rounds(pace, 0.025, 2)
        assert pace.is_off and pace.stats()["is_paused"]
        steps(pace, expected - 1)
        assert pace.is_off
        steps(pace, 1)
        assert not pace.is_off
        expected = min(2 * expected, MAX_PAUSE_TOKENS)


def test_a_window_that_gains_makes_the_next_pause_short_again() -> None:
    pace = started()
    rounds(pace, 0.1, 1)
    steps(pace, PAUSE_TOKENS)
    rounds(pace, 0.01, 4)
    rounds(pace, 0.1, 1)
    steps(pace, PAUSE_TOKENS)
    assert not pace.is_off


@pytest.mark.model
def test_a_draft_model_larger_than_the_model_is_soon_left_alone(
    text_model: Path, tmp_path: Path
) -> None:
    slow = {**tiny.QWEN3, "num_hidden_layers": 12}
    draft = tiny.make_text_model(tmp_path / "slow", slow, seed=3)
    backend = load_text(text_model)
    request = ask(
        "Hi",
        sampling=Sampling(temperature=0),
        max_tokens=150,
        ignore_eos=True,
        draft_path=str(draft),
    )
    (result,) = run(backend, [request])
    # With a round for every token it would be over 400.
    assert 0 < result.done.usage.drafted_tokens < 100
    assert backend.call("stats", {})["speculation"]["is_paused"]
