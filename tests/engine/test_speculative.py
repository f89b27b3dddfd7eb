"""A draft model changes how long a text takes, and nothing else."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, LoadFailed, Unsupported
from mlxgui.engine.types import (
    Constraint,
    Finished,
    GenerationRequest,
    Logprobs,
    Sampling,
    Warned,
)
from tests import tiny
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0)
SEEDED = Sampling(temperature=1.0, top_p=0.9, seed=11)
QUESTIONS = ["Hi", "What is a class?", "x " * 40, "one two three " * 9]


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Iterator[Any]:
    yield load_text(text_model)


@pytest.fixture(scope="module")
def twin(text_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A draft model that is the model."""
    return str(shutil.copytree(text_model, tmp_path_factory.mktemp("draft") / "twin"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A draft model with the same tokenizer that guesses badly."""
    folder = tmp_path_factory.mktemp("draft") / "stranger"
    return str(tiny.make_text_model(folder, {**tiny.QWEN3, "num_hidden_layers": 1}, seed=5))


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft model as large as the model never saves time; what it says is the matter here."""
    monkeypatch.setattr("mlxgui.engine.backends.pace.Pace.is_off", False)


def long(text: str, **changes: Any) -> GenerationRequest:
    return ask(text, **{"sampling": GREEDY, "max_tokens": 40, "ignore_eos": True, **changes})


def ids(result: Any) -> list[int]:
    return [t.id for event in result.events if isinstance(event, Logprobs) for t in event.tokens]


@pytest.mark.parametrize("draft", ["twin", "stranger"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_text_is_the_one_without_a_draft(
    backend: Any, draft: str, count: int, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(draft)
    for sampling in (GREEDY, SEEDED, Sampling(seed=3, top_k=9, xtc_probability=0.4)):
        for question in QUESTIONS[::2]:
            plain = long(question, sampling=sampling)
            (want,) = run(backend, [plain])
            drafted = long(question, sampling=sampling, draft_path=path, draft_tokens=count)
            (got,) = run(backend, [drafted])
            assert got.text == want.text
            usage = got.done.usage
            assert usage.completion_tokens == want.done.usage.completion_tokens == 40
            assert usage.drafted_tokens > 0


def test_a_draft_model_that_is_the_model_is_nearly_always_right(backend: Any, twin: str) -> None:
    for sampling in (GREEDY, SEEDED, Sampling(temperature=0.8)):
        usage = run(backend, [long("Hi", sampling=sampling, draft_path=twin)])[0].done.usage
        assert usage.accepted_tokens >= 0.9 * usage.drafted_tokens > 20
    stats = backend.call("stats", {})["speculation"]
    assert stats["draft_model"] == "twin"
    assert stats["accepted_tokens"] > 60


def test_a_row_is_drafted_only_while_it_is_alone(backend: Any, twin: str) -> None:
    requests = [long(text, draft_path=twin, max_tokens=20 + 20 * i) for i, text in enumerate("abc")]
    want = [run(backend, [long(text, max_tokens=60)])[0].text for text in "abc"]
    results = run(backend, requests)
    for result, whole in zip(results, want, strict=True):
        assert whole.startswith(result.text) and len(result.text) > 10
    drafted = [result.done.usage.drafted_tokens for result in results]
    assert drafted[0] < 4 and drafted[2] > 8


def test_others_join_and_leave_in_the_middle(backend: Any, twin: str, stranger: str) -> None:
    want = [run(backend, [long(text, max_tokens=60)])[0].text for text in QUESTIONS[:2]]
    for path in (twin, stranger):
        late = long(QUESTIONS[1], max_tokens=10)
        first, second = run_late(
            backend, long(QUESTIONS[0], draft_path=path, max_tokens=60), late, at_step=6
        )
        assert first.text == want[0]
        assert want[1].startswith(second.text)
        assert first.done.usage.drafted_tokens > 20


def run_late(backend: Any, first: Any, second: Any, *, at_step: int) -> list[Any]:
    from tests.engine.backend import Result

    results = [Result(), Result()]
    backend.add(1, backend.prepare(first))
    step = 0
    while backend.is_busy:
        step += 1
        if step == at_step:
            backend.add(2, backend.prepare(second))
        for id, event in backend.step():
            results[id - 1].events.append(event)
    return results


@pytest.mark.parametrize("when", [1, 2, 3, 4, 6])
def test_cancelling_in_the_middle_leaves_nothing_behind(backend: Any, twin: str, when: int) -> None:
    request = long("Tell me more", draft_path=twin)
    (want,) = run(backend, [long("Tell me more")])

    def cancel(step: int) -> None:
        if step == when:
            backend.cancel(1)

    run(backend, [request], at_step=cancel)
    assert not backend.is_busy and not backend.by_uid and backend.scheduler.rows == 0
    assert run(backend, [request])[0].text == want.text


def test_a_stop_string_and_the_length_end_it_within_a_round(backend: Any, twin: str) -> None:
    whole = run(backend, [long("Hi")])[0].text
    for at in (6, 11, 17, 23):
        stop = whole[at : at + 3]
        (result,) = run(backend, [long("Hi", stop=[stop], draft_path=twin, draft_tokens=7)])
        assert result.text == whole[: whole.index(stop)]
        assert result.reason == "stop"
    for most in range(1, 12):
        (want,) = run(backend, [long("Hi", max_tokens=most)])
        (result,) = run(backend, [long("Hi", max_tokens=most, draft_path=twin, draft_tokens=5)])
        assert (result.text, result.reason) == (want.text, "length")
        assert result.done.usage.completion_tokens == most


def test_the_end_of_the_turn_ends_it_within_a_round(
    backend: Any, twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "eos", [[token] for token in range(40, 60)])
    reasons = set()
    for seed in range(6):
        ask_it = partial(ask, "Hi", sampling=Sampling(temperature=3.0, seed=seed), max_tokens=60)
        (want,), (got,) = run(backend, [ask_it()]), run(backend, [ask_it(draft_path=twin)])
        assert (got.text, got.reason) == (want.text, want.reason)
        reasons.add(got.reason)
    assert "stop" in reasons


def test_what_is_kept_of_a_drafted_answer_serves_the_next_turn(backend: Any, twin: str) -> None:
    request = long("Tell me of ships " * 5, draft_path=twin, draft_tokens=6, max_tokens=33)
    (first,) = run(backend, [request])
    again = long("Tell me of ships " * 5, max_tokens=60)
    (second,) = run(backend, [again])
    backend.prompt_cache.reset()
    (cold,) = run(backend, [again])
    assert second.text == cold.text and second.text.startswith(first.text)
    assert second.done.usage.cached_tokens > 0


def test_probabilities_are_told_of_each_token(backend: Any, twin: str) -> None:
    (want,) = run(backend, [long("Hi", logprobs=2)])
    (got,) = run(backend, [long("Hi", logprobs=2, draft_path=twin)])
    assert ids(got) == ids(want) and len(ids(got)) == 40
    pairs = [
        [t for event in result.events if isinstance(event, Logprobs) for t in event.tokens]
        for result in (got, want)
    ]
    for one, other in zip(*pairs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert [a.id for a in one.alternatives] == [a.id for a in other.alternatives]


def test_what_depends_on_earlier_tokens_goes_without_guesses(backend: Any, twin: str) -> None:
    for changes in (
        {"sampling": Sampling(temperature=0, presence_penalty=1.5)},
        {"sampling": Sampling(temperature=0, logit_bias={40: 3.0})},
        {"constraint": Constraint("regex", "[a-f]{4,30}"), "ignore_eos": False},
        {"min_tokens": 5},
    ):
        (want,) = run(backend, [long("Hi", **changes)])
        (got,) = run(backend, [long("Hi", draft_path=twin, **changes)])
        assert got.text == want.text
        assert got.done.usage.drafted_tokens == 0


def test_it_goes_on_over_a_quantised_cache(text_model: Path, twin: str) -> None:
    backend = load_text(text_model, kv_bits=8, kv_start_tokens=40)
    for question in QUESTIONS:
        (want,) = run(backend, [long(question, max_tokens=60)])
        (got,) = run(backend, [long(question, max_tokens=60, draft_path=twin)])
        assert got.text == want.text
        assert got.done.usage.accepted_tokens > 20


def test_choices_are_drafted_once_one_of_them_is_left(backend: Any, twin: str) -> None:
    request = ask("Hi", sampling=Sampling(temperature=3.0, seed=8), n=3, max_tokens=60)
    (want,) = run(backend, [request])
    from msgspec import structs

    (got,) = run(backend, [structs.replace(request, draft_path=twin)])
    assert told(got) == told(want)


def told(result: Any) -> tuple[dict[int, str], list[tuple[int, str]]]:
    texts: dict[int, str] = {}
    for event in result.events:
        if type(event).__name__ == "Text":
            texts[event.index] = texts.get(event.index, "") + event.text
    ends = [(e.index, e.reason) for e in result.events if isinstance(e, Finished)]
    return texts, sorted(ends)


@pytest.mark.parametrize("name", ["gemma3", "lfm2", "mamba2"])
def test_a_cache_that_cannot_be_cut_back_is_a_refusal(tmp_path: Path, twin: str, name: str) -> None:
    folder = tiny.make_text_model(tmp_path / name, tiny.ARCHITECTURES[name])
    with pytest.raises(Unsupported, match="cut back") as caught:
        load_text(folder).prepare(long("Hi", draft_path=twin))
    assert caught.value.param == "draft_model"


def other_vocabulary(folder: Path) -> None:
    import json

    file = folder / "tokenizer.json"
    words = json.loads(file.read_text())
    vocabulary = words["model"]["vocab"]
    names = list(vocabulary)[20:60]
    for name, number in zip(names, reversed([vocabulary[n] for n in names]), strict=True):
        vocabulary[name] = number
    file.write_text(json.dumps(words))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def half_its_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (other_vocabulary, "another vocabulary"),
        (no_tokenizer, "another vocabulary"),
        (half_its_weights, "could not be loaded"),
        (shutil.rmtree, "could not be loaded"),
    ],
)
def test_a_draft_model_that_does_not_fit_is_refused_by_name_and_harms_nobody(
    backend: Any, twin: str, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    folder = shutil.copytree(twin, tmp_path / damage.__name__)
    damage(folder)
    good, bad = long("Hi"), long("Hi", draft_path=str(folder))
    (want,) = run(backend, [good])
    results = run(backend, [good, bad, good])
    assert isinstance(results[1].error, BadRequest) and results[1].error.param == "draft_model"
    assert reason in results[1].error.message
    assert [results[0].text, results[2].text] == [want.text, want.text]


@pytest.mark.parametrize("count", [-1, 17])
def test_a_silly_number_of_guesses_is_refused(backend: Any, twin: str, count: int) -> None:
    with pytest.raises(BadRequest) as caught:
        backend.prepare(long("Hi", draft_path=twin, draft_tokens=count))
    assert caught.value.param == "num_draft_tokens"


@pytest.mark.parametrize("kind", ["at once", "lazily"])
def test_a_draft_model_that_fails_in_the_middle_harms_nobody(
    text_model: Path, twin: str, tmp_path: Path, kind: str
) -> None:
    backend = load_text(text_model)
    (want,) = run(backend, [long("Hi", max_tokens=60)])

    def fail(step: int) -> None:
        if step == 8:
            backend.speculator.draft.model = Broken(kind, tmp_path / "weights.safetensors")

    (got,) = run(backend, [long("Hi", max_tokens=60, draft_path=twin)], at_step=fail)
    assert got.text == want.text
    assert got.done.usage.drafted_tokens > 0
    assert backend.speculator.draft is None
    with pytest.raises(BadRequest, match="failed"):
        backend.prepare(long("Hi", draft_path=twin))
    assert run(backend, [long("Hi", max_tokens=60)])[0].text == want.text


class Broken:
    """A model whose forward pass fails: when it is built, or when its weights are read."""

    def __init__(self, kind: str, file: Path) -> None:
        import mlx.core as mx

        self.kind = kind
        mx.save_safetensors(str(file), {"weights": mx.ones((1000,))})
        self.weights = mx.load(str(file))["weights"]
        os.truncate(file, 500)

    def __call__(self, tokens: Any, cache: Any) -> Any:
        import mlx.core as mx

        if self.kind == "at once":
            raise RuntimeError("bomb")
        return mx.zeros((1, tokens.shape[1], tiny.VOCABULARY)) + self.weights.sum()


def test_a_number_of_guesses_without_a_draft_model_is_said_to_change_nothing(
    backend: Any, twin: str
) -> None:
    for path, notes in (("", 1), (twin, 0)):
        request = ask("Hi", sampling=GREEDY, max_tokens=2, draft_tokens=4, draft_path=path)
        (result,) = run(backend, [request])
        said = [event.message for event in result.events if isinstance(event, Warned)]
        assert len(said) == notes
        assert all("num_draft_tokens" in one for one in said)


def test_a_model_is_loaded_with_its_draft_model(text_model: Path, twin: str) -> None:
    backend = load_text(text_model, draft_path=twin, draft_tokens=2)
    (result,) = run(backend, [long("Hi")])
    assert result.done.usage.drafted_tokens > 20
    assert result.text == run(load_text(text_model), [long("Hi")])[0].text


def test_a_model_whose_draft_model_does_not_fit_is_not_loaded(
    text_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(LoadFailed, match="draft"):
        load_text(text_model, draft_path=str(tmp_path / "nothing"))
