"""What one request may ask of its tokens, on a tiny real model, alone and in a batch."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Constraint, Finished, Logprobs, Message, Sampling, Text
from tests.conftest import ask
from tests.engine.backend import Result, load_text, run

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Iterator[Any]:
    yield load_text(text_model)


def choices(result: Result) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in result.events:
        if isinstance(event, Text):
            texts[event.index] = texts.get(event.index, "") + event.text
    return texts


def probs(result: Result) -> list[Any]:
    return [t for event in result.events if isinstance(event, Logprobs) for t in event.tokens]


def test_n_choices_share_one_prefill_and_each_is_its_own_seed(backend: Any) -> None:
    sampled = Sampling(seed=5)
    (result,) = run(backend, [ask("Hi", sampling=sampled, n=4, max_tokens=12)])
    texts = choices(result)
    assert sorted(texts) == [0, 1, 2, 3] and len(set(texts.values())) == 4
    finished = [event.index for event in result.events if isinstance(event, Finished)]
    assert sorted(finished) == [0, 1, 2, 3]
    assert result.done.usage.completion_tokens == 48
    for index, text in texts.items():
        alone = run(backend, [ask("Hi", sampling=Sampling(seed=5 + index), max_tokens=12)])[0]
        assert alone.text == text


def test_greedy_choices_are_alike_and_need_one_place_each(backend: Any) -> None:
    (result,) = run(backend, [ask("Hi", sampling=GREEDY, n=3, max_tokens=8)])
    assert len(set(choices(result).values())) == 1
    with pytest.raises(BadRequest) as caught:
        backend.prepare(ask("Hi", n=33))
    assert caught.value.param == "n"


def test_cancelling_a_request_takes_all_its_choices(backend: Any) -> None:
    def cancel(step: int) -> None:
        if step == 6:
            backend.cancel(1)

    run(backend, [ask("Hi", sampling=GREEDY, n=4, max_tokens=50)], at_step=cancel)
    assert not backend.is_busy and backend.scheduler.rows == 0


def test_logprobs_name_each_token_and_the_best_alternatives(backend: Any) -> None:
    (result,) = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=6, logprobs=3)])
    found = probs(result)
    assert len(found) == 6
    for token in found:
        values = [other.logprob for other in token.alternatives]
        assert len(values) == 3 and values == sorted(values, reverse=True)
        assert token.alternatives[0].id == token.id  # greedy draws the best
        assert math.isclose(token.logprob, values[0], abs_tol=1e-5) and token.logprob <= 0


def test_logprobs_of_one_change_nothing_for_the_others(backend: Any) -> None:
    plain = ask("What is a class?", sampling=GREEDY, max_tokens=10)
    reported = ask("What is a class?", sampling=GREEDY, max_tokens=10, logprobs=0)
    one, two, three = run(backend, [plain, reported, plain])
    assert one.text == two.text == three.text
    assert len(probs(two)) == 10 and not probs(one)
    assert all(not token.alternatives for token in probs(two))


def test_the_logprobs_sum_to_one_over_the_vocabulary(backend: Any) -> None:
    (result,) = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=1, logprobs=20)])
    (token,) = probs(result)
    assert 0 < sum(math.exp(other.logprob) for other in token.alternatives) <= 1.0001


def test_a_bias_forbids_and_forces_tokens(backend: Any) -> None:
    (free,) = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=1, logprobs=0)])
    first = probs(free)[0].id
    banned = Sampling(temperature=0, logit_bias={first: -100.0})
    forced = Sampling(temperature=0, logit_bias={7: 100.0})
    results = run(
        backend,
        [
            ask("Hi", sampling=banned, max_tokens=5, logprobs=0),
            ask("Hi", sampling=forced, max_tokens=5, logprobs=0),
            ask("Hi", sampling=GREEDY, max_tokens=1, logprobs=0),
        ],
    )
    assert first not in {token.id for token in probs(results[0])}
    assert {token.id for token in probs(results[1])} == {7}
    assert probs(results[2])[0].id == first


@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_penalties_end_a_repetition(backend: Any, field: str) -> None:
    stuck = {9: 50.0}
    (free,) = run(
        backend,
        [ask("Hi", sampling=Sampling(temperature=0, logit_bias=stuck), max_tokens=8, logprobs=0)],
    )
    assert {token.id for token in probs(free)} == {9}
    penalised = Sampling(temperature=0, logit_bias=stuck, **{field: 60.0})
    (result,) = run(backend, [ask("Hi", sampling=penalised, max_tokens=8, logprobs=0)])
    assert {token.id for token in probs(result)} != {9}


def test_repetition_penalty_of_one_and_zero_mean_none(backend: Any) -> None:
    requests = [
        ask("Hi", sampling=Sampling(temperature=0, repetition_penalty=value), max_tokens=16)
        for value in (1.0, 0.0)
    ]
    plain = ask("Hi", sampling=GREEDY, max_tokens=16)
    texts = {result.text for result in run(backend, [*requests, plain])}
    assert len(texts) == 1
    strong = ask("Hi", sampling=Sampling(temperature=0, repetition_penalty=8.0), max_tokens=16)
    assert run(backend, [strong])[0].text not in texts


def test_min_tokens_forbids_the_end_and_ignore_eos_passes_it(backend: Any) -> None:
    end = backend.eos[0][0]
    eager = Sampling(temperature=0, logit_bias={end: 100.0})
    ended, held, passed = run(
        backend,
        [
            ask("Hi", sampling=eager, max_tokens=10),
            ask("Hi", sampling=eager, max_tokens=10, min_tokens=4),
            ask("Hi", sampling=eager, max_tokens=10, ignore_eos=True),
        ],
    )
    assert (ended.text, ended.reason, ended.done.usage.completion_tokens) == ("", "stop", 1)
    assert (held.reason, held.done.usage.completion_tokens) == ("stop", 5)
    assert (passed.reason, passed.done.usage.completion_tokens) == ("length", 10)


def test_a_grammar_that_is_fulfilled_ends_whatever_should_come_before_the_end(backend: Any) -> None:
    """Else nothing at all may come, and what is drawn then is rubbish."""
    two = {"constraint": Constraint("regex", "ab"), "sampling": GREEDY, "max_tokens": 12}
    more = {**two, "constraint": Constraint("regex", "[ab]*")}
    held, passed, open_held, open_passed = run(
        backend,
        [
            ask("Hi", min_tokens=9, **two),
            ask("Hi", ignore_eos=True, **two),
            ask("Hi", min_tokens=9, **more),
            ask("Hi", ignore_eos=True, **more),
        ],
    )
    assert (held.text, held.reason) == (passed.text, passed.reason) == ("ab", "stop")
    assert set(open_held.text) <= {"a", "b"} and len(open_held.text) >= 9
    assert set(open_passed.text) <= {"a", "b"} and open_passed.reason == "length"


def test_tokens_of_a_stop_string_have_no_logprobs(backend: Any) -> None:
    plain = ask("Hi", sampling=GREEDY, max_tokens=12, logprobs=1)
    (free,) = run(backend, [plain])
    whole = [token.text for token in probs(free)]
    for start in range(1, 8):  # the stop string begins with a token, and takes two
        stop = "".join(whole[start : start + 2])
        if "\ufffd" in stop or free.text.find(stop) != len("".join(whole[:start]).lstrip()):
            continue
        (cut,) = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=12, logprobs=1, stop=[stop])])
        assert [token.text for token in probs(cut)] == whole[:start], stop
    (uncut,) = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=12, logprobs=1, stop=["zzz"])])
    assert probs(uncut) == probs(free)


def test_what_a_grammar_forbids_is_no_alternative(backend: Any) -> None:
    only = Constraint("regex", "[ab]{3}")
    (result,) = run(backend, [ask("Hi", sampling=GREEDY, logprobs=5, constraint=only)])
    for token in probs(result):
        assert {other.text for other in token.alternatives} <= set("ab")
        assert math.isfinite(token.logprob) and token.alternatives


def test_truncations_keep_only_the_best(backend: Any) -> None:
    greedy = run(backend, [ask("Hi", sampling=GREEDY, max_tokens=8)])[0].text
    for values in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        sampled = Sampling(temperature=1.5, seed=3, **values)  # type: ignore[arg-type]
        assert run(backend, [ask("Hi", sampling=sampled, max_tokens=8)])[0].text == greedy, values


def test_xtc_never_draws_the_best_of_several_likely_tokens(backend: Any) -> None:
    likely = {5: 60.0, 6: 60.0, 7: 60.0}
    plain = Sampling(temperature=5.0, seed=1, logit_bias=likely)
    xtc = Sampling(
        temperature=5.0, seed=1, logit_bias=likely, xtc_probability=1.0, xtc_threshold=1e-9
    )
    requests = [ask("Hi", sampling=s, max_tokens=30, logprobs=1) for s in (plain, xtc)]
    free, excluded = run(backend, requests)

    def best_drawn(result: Result) -> int:
        return sum(token.id == token.alternatives[0].id for token in probs(result))

    assert best_drawn(free) > 0
    assert best_drawn(excluded) == 0
    assert [run(backend, [requests[1]])[0].text] == [excluded.text]


def test_sixteen_requests_of_different_kinds_each_say_what_they_say_alone(backend: Any) -> None:
    kinds = [
        {"sampling": GREEDY},
        {"sampling": Sampling(seed=3)},
        {"sampling": Sampling(seed=4, top_p=0.8)},
        {"sampling": Sampling(seed=5, top_k=7, temperature=0.6)},
        {"sampling": Sampling(temperature=0, presence_penalty=1.5)},
        {"sampling": GREEDY, "logprobs": 2},
        {"sampling": GREEDY, "stop": ["e"]},
        {"sampling": Sampling(seed=6, xtc_probability=0.5)},
    ]
    requests = [ask(f"{i} tell me", max_tokens=14, **kinds[i % 8]) for i in range(16)]
    together = [result.text for result in run(backend, requests)]
    assert together == [run(backend, [request])[0].text for request in requests]


def test_role_mapping_writes_the_transcript_of_a_model_without_template(
    tmp_path: Path, text_model: Path
) -> None:
    import shutil

    folder = shutil.copytree(text_model, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    plain = load_text(folder)
    request = ask("Hi", role_mapping={"user": "Q: ", "assistant": "A:", "stop": "|"})
    assert plain.tokenizer.decode(plain.prepare(request).tokens) == "Q: Hi|A:"
    both = [Message("system", "Be kind"), Message("user", "Hi")]
    default = plain.prepare(ask("Hi", messages=both))
    assert plain.tokenizer.decode(default.tokens) == "System: Be kind\nUser: Hi\nAssistant:"
