"""The text backend on a tiny real model: every claim about the batch is a comparison of texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, ContextOverflow, LoadFailed
from mlxgui.engine.types import Finished, GenerationRequest, Message, Sampling, Started
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0)
QUESTIONS = ["Hi", "What is a class?", "x " * 40, "import os and sys", "one two three " * 9]


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Iterator[Any]:
    yield load_text(text_model)


def greedy(text: str, **changes: Any) -> GenerationRequest:
    return ask(text, **{"sampling": GREEDY, "max_tokens": 24, **changes})


def alone(backend: Any, request: GenerationRequest) -> str:
    return run(backend, [request])[0].text


def test_a_batch_says_what_each_says_alone(backend: Any) -> None:
    requests = [greedy(text) for text in QUESTIONS * 3]
    together = [result.text for result in run(backend, requests)]
    assert together == [alone(backend, request) for request in requests]
    assert len(set(together)) == len(QUESTIONS)


def test_the_same_seed_says_the_same_alone_and_among_others(backend: Any) -> None:
    seeded = ask("Tell me", sampling=Sampling(temperature=1.0, top_p=0.95, seed=7), max_tokens=24)
    others = [
        ask(text, sampling=Sampling(seed=i), max_tokens=16) for i, text in enumerate(QUESTIONS)
    ]
    first = alone(backend, seeded)
    assert run(backend, [*others, seeded])[-1].text == first
    assert run(backend, [seeded, seeded])[1].text == first
    other = ask("Tell me", sampling=Sampling(temperature=1.0, top_p=0.95, seed=8), max_tokens=24)
    assert alone(backend, other) != first


def test_usage_adds_up_and_length_is_the_reason(backend: Any) -> None:
    (result,) = run(backend, [greedy("Count", max_tokens=10)])
    usage = result.done.usage
    started = result.events[0]
    assert isinstance(started, Started) and started.prompt_tokens == usage.prompt_tokens
    assert (usage.completion_tokens, result.reason) == (10, "length")
    assert usage.total_tokens == usage.prompt_tokens + 10


def test_a_stop_string_split_over_tokens_ends_the_text_and_never_shows(backend: Any) -> None:
    whole = alone(backend, greedy("Hi", max_tokens=40))
    for start in (3, 9, 17):
        stop = whole[start : start + 5]
        (result,) = run(backend, [greedy("Hi", max_tokens=40, stop=[stop, "never said"])])
        assert result.text == whole[: whole.index(stop)]
        assert stop not in result.text
        finished = next(event for event in result.events if isinstance(event, Finished))
        assert (finished.reason, finished.stop_text) == ("stop", stop)


def test_half_a_stop_string_at_the_end_is_text(backend: Any) -> None:
    whole = alone(backend, greedy("Hi", max_tokens=12))
    (result,) = run(backend, [greedy("Hi", max_tokens=12, stop=[whole[-2:] + "§"])])
    assert (result.text, result.reason) == (whole, "length")


def test_cancelling_one_leaves_the_others_as_they_were(backend: Any) -> None:
    requests = [greedy(text) for text in QUESTIONS]
    want = [alone(backend, request) for request in requests]

    def cancel(step: int) -> None:
        if step == 8:
            backend.cancel(2)

    results = run(backend, requests, at_step=cancel)
    assert [result.text for i, result in enumerate(results) if i != 1] == [*want[:1], *want[2:]]
    assert want[1].startswith(results[1].text) and len(results[1].text) < len(want[1])


@pytest.mark.parametrize("when", [1, 2, 3, 12])
def test_cancelling_in_each_phase_leaves_no_slot_busy(backend: Any, when: int) -> None:
    def cancel(step: int) -> None:
        if step == when:
            backend.cancel(1)

    (result,) = run(backend, [greedy("x " * 200)], at_step=cancel)
    assert not backend.is_busy and not backend.by_uid
    assert result.error is None


def test_the_next_turn_reads_only_what_is_new(backend: Any) -> None:
    history = [Message("system", "Be kind. " * 8), Message("user", "Tell me of trees " * 6)]
    first = run(backend, [_talk(history)])[0]
    history += [Message("assistant", first.text), Message("user", "And of rivers?")]
    second = run(backend, [_talk(history)])[0]
    # All of the first prompt at least; the answer may tokenise otherwise when it is read again.
    assert second.done.usage.cached_tokens >= first.done.usage.prompt_tokens - 8
    fresh = load_text(Path(backend.spec.path))
    cold = run(fresh, [_talk(history)])[0]
    assert cold.done.usage.cached_tokens == 0
    assert second.text == cold.text


def test_a_shared_system_prompt_is_read_once(backend: Any) -> None:
    system = Message("system", "You know much about old ships. " * 10)
    run(backend, [_talk([system, Message("user", "One?")])])
    result = run(backend, [_talk([system, Message("user", "Quite another question")])])[0]
    assert result.done.usage.cached_tokens > 60


def _talk(messages: list[Message]) -> GenerationRequest:
    return GenerationRequest(messages=messages, sampling=GREEDY, max_tokens=16)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("a bias beyond the vocabulary", {"logit_bias": {2_000_000_000: 1.0}}, "logit_bias"),
    ("a bias just beyond", {"logit_bias": {512: 1.0}}, "logit_bias"),
    ("a negative token", {"logit_bias": {-5: 1.0}}, "logit_bias"),
    ("a bias that is no number", {"logit_bias": {1: float("nan")}}, "logit_bias"),
    ("NaN temperature", {"temperature": float("nan")}, "temperature"),
    ("negative temperature", {"temperature": -1.0}, "temperature"),
    ("infinite penalty", {"presence_penalty": float("inf")}, "presence_penalty"),
    ("negative repetition penalty", {"repetition_penalty": -1.0}, "repetition_penalty"),
]


@pytest.mark.parametrize(("title", "values", "param"), BAD, ids=[case[0] for case in BAD])
def test_a_poisoned_request_is_refused_by_name_and_harms_nobody(
    backend: Any, title: str, values: dict[str, Any], param: str
) -> None:
    good = greedy("What is a class?")
    want = alone(backend, good)
    results = run(backend, [good, ask("x", sampling=Sampling(**values), max_tokens=4), good])
    assert isinstance(results[1].error, BadRequest) and results[1].error.param == param
    assert [results[0].text, results[2].text] == [want, want]


def test_top_k_above_the_vocabulary_means_all_of_it(backend: Any) -> None:
    request = ask("Hi", sampling=Sampling(top_k=10_000, seed=1), max_tokens=8)
    same = ask("Hi", sampling=Sampling(seed=1), max_tokens=8)
    assert alone(backend, request) == alone(backend, same)


def test_one_that_breaks_the_step_is_found_and_the_others_go_on(backend: Any) -> None:
    """A processor that raises stands for any failure inside mlx in the middle of a batch."""
    requests = [greedy(text, max_tokens=20) for text in QUESTIONS]
    want = [alone(backend, request) for request in requests]

    def poison(step: int) -> None:
        if step == 9:
            backend.rows[3].choices[0].plan.processors.append(explode)

    def explode(context: Any, logits: Any) -> Any:
        raise RuntimeError("bomb")

    results = run(backend, requests, at_step=poison)
    assert [r.text for i, r in enumerate(results) if i != 2] == [*want[:2], *want[3:]]
    assert results[2].error is not None and "bomb" in results[2].error.message
    assert alone(backend, requests[2]) == want[2]


def test_a_prompt_beyond_the_context_is_refused_with_the_numbers(text_model: Path) -> None:
    small = load_text(text_model, context_tokens=32)
    with pytest.raises(ContextOverflow, match="context is 32 tokens"):
        small.prepare(greedy("word " * 60))
    (result,) = run(small, [greedy("Hi", max_tokens=0)])
    assert result.done.usage.total_tokens <= 32


def test_token_ids_beyond_the_embedding_never_reach_mlx(backend: Any) -> None:
    backend.prompter.embedding_rows, rows = 40, backend.prompter.embedding_rows
    try:
        with pytest.raises(BadRequest, match="only 40 rows"):
            backend.prepare(greedy("Hello"))
    finally:
        backend.prompter.embedding_rows = rows


def test_the_wired_limit_is_left_alone(backend: Any) -> None:
    """Through this name the libraries raise it, around a call, and put it back."""
    import mlx.core as mx

    from mlxgui.engine.backends.limits import MLX

    assert mx.set_wired_limit(12345) == 12345
    assert mx.set_wired_limit is not MLX.set_wired_limit


@pytest.mark.parametrize("damage", ["missing", "truncated", "config"])
def test_a_damaged_folder_is_a_load_failure(tmp_path: Path, text_model: Path, damage: str) -> None:
    import shutil

    folder = tmp_path / "broken"
    if damage != "missing":
        shutil.copytree(text_model, folder)
    if damage == "truncated":
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    if damage == "config":
        (folder / "config.json").write_text("[]")
    with pytest.raises(LoadFailed):
        load_text(folder)


def test_weights_that_are_no_numbers_are_a_load_failure(tmp_path: Path, text_model: Path) -> None:
    import shutil

    import mlx.core as mx

    folder = shutil.copytree(text_model, tmp_path / "nan")
    weights = mx.load(str(folder / "model.safetensors"))
    weights["model.norm.weight"] = mx.full(weights["model.norm.weight"].shape, float("nan"))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    with pytest.raises(LoadFailed, match="NaN"):
        load_text(folder)
