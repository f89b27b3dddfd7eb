"""One bad request among good ones: it is refused or given up by itself, and nobody else's text
changes, over plain and quantised caches."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.engine.types import Constraint, GenerationRequest, Message, Sampling, Tool
from tests.conftest import ask
from tests.engine.backend import Result, load_text, run

pytestmark = pytest.mark.model

NAN, INFINITE = float("nan"), float("inf")
LONG = "one two three four five six seven " * 40
GREEDY = Sampling(temperature=0)
GOOD = [
    ask("What is a class?", sampling=GREEDY, max_tokens=24, ignore_eos=True),
    ask("Tell me", sampling=Sampling(seed=7, top_p=0.9), max_tokens=24, logprobs=2),
    ask("x " * 60, sampling=Sampling(temperature=0, presence_penalty=1.0), max_tokens=24),
    ask("Say it", sampling=Sampling(seed=3), max_tokens=24, constraint=Constraint("json_object")),
]


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Iterator[Any]:
    """Of the good ones some stay below the start, one passes it, one begins beyond."""
    yield load_text(text_model, prefill_step_tokens=64, kv_bits=8, kv_start_tokens=40)


@pytest.fixture(scope="module")
def want(backend: Any) -> list[str]:
    return [run(backend, [request])[0].text for request in GOOD]


def among_good(
    backend: Any, bad: GenerationRequest, at_step: Callable[[int], None] = lambda step: None
) -> tuple[list[str], Result]:
    """(the texts of the good ones, what became of the third: the bad one)."""
    results = run(backend, [*GOOD[:2], bad, *GOOD[2:]], at_step=at_step)
    return [results[i].text for i in (0, 1, 3, 4)], results[2]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("top_p NaN", {"sampling": Sampling(top_p=NAN)}, "top_p"),
    ("top_p negative", {"sampling": Sampling(top_p=-0.5)}, "top_p"),
    ("min_p NaN", {"sampling": Sampling(min_p=NAN)}, "min_p"),
    ("min_p negative", {"sampling": Sampling(min_p=-1.0)}, "min_p"),
    ("top_k negative", {"sampling": Sampling(top_k=-7)}, "top_k"),
    ("temperature infinite", {"sampling": Sampling(temperature=INFINITE)}, "temperature"),
    ("xtc_probability NaN", {"sampling": Sampling(xtc_probability=NAN)}, "xtc_probability"),
    ("xtc_threshold NaN", {"sampling": Sampling(xtc_threshold=NAN)}, "xtc_threshold"),
    ("repetition NaN", {"sampling": Sampling(repetition_penalty=NAN)}, "repetition_penalty"),
    ("frequency NaN", {"sampling": Sampling(frequency_penalty=NAN)}, "frequency_penalty"),
    (
        "context negative",
        {"sampling": Sampling(presence_context_tokens=-1)},
        "presence_context_size",
    ),
    ("a bias without end", {"sampling": Sampling(logit_bias={3: INFINITE})}, "logit_bias"),
    ("more choices than places", {"n": 900}, "n"),
    ("no regular expression", {"constraint": Constraint("regex", "(")}, "response_format"),
    (
        "a schema nobody can satisfy in words",
        {"constraint": Constraint("json_schema", '{"$ref": "#/nowhere"}')},
        "response_format",
    ),
    ("an answer that is a call and JSON", {
        "tools": [Tool("f")],
        "tool_choice": "required",
        "constraint": Constraint("json_object"),
    }, "response_format"),
    ("nothing at all", {"messages": []}, "prompt"),
    ("a token beyond the vocabulary", {"messages": [], "prompt_tokens": [5, 9999]}, "prompt"),
    ("a draft model that is none", {"draft_path": "/nowhere"}, "draft_model"),
]  # fmt: skip


@pytest.mark.parametrize(("title", "changes", "param"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_served_is_refused_by_name(
    backend: Any, want: list[str], title: str, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        backend.prepare(ask("Hi", **changes))
    assert caught.value.param == param
    texts, result = among_good(backend, ask("Hi", **{"max_tokens": 8, **changes}))
    assert texts == want
    assert isinstance(result.error, BadRequest)


ODD: list[tuple[str, dict[str, Any]]] = [
    ("top_k above the vocabulary", {"sampling": Sampling(top_k=10_000_000, seed=1)}),
    ("a message without words", {"messages": [Message("user", "")]}),
    ("only an empty system prompt", {"messages": [Message("system", "")]}),
    ("a bias that forbids nearly all", {"sampling": Sampling(logit_bias={9: 1e30})}),
    ("a bias that forbids everything", {"sampling": Sampling(
        logit_bias=dict.fromkeys(range(512), -1e38))}),
    ("hardly any temperature", {"sampling": Sampling(temperature=1e-30, seed=2)}),
    ("far too much temperature", {"sampling": Sampling(temperature=1e30, seed=2)}),
    ("min_p that only the best reaches", {"sampling": Sampling(min_p=1.0, seed=2)}),
    ("nothing left by xtc", {"sampling": Sampling(
        xtc_probability=1.0, xtc_threshold=0.0, seed=2)}),
    ("a huge penalty", {"sampling": Sampling(
        temperature=0, repetition_penalty=1e30, presence_penalty=1e30)}),
    ("a stop string for each letter", {"stop": list("abcdefghijklmnopqrstuvwxyz .,")}),
    ("a pattern no token goes with", {"constraint": Constraint("regex", "\u0130{3}")}),
    ("more tokens wanted than there are", {"max_tokens": 3, "min_tokens": 500}),
]  # fmt: skip


@pytest.mark.parametrize(("title", "changes"), ODD, ids=[case[0] for case in ODD])
def test_what_is_odd_ends_and_changes_nothing_for_the_others(
    backend: Any, want: list[str], title: str, changes: dict[str, Any]
) -> None:
    texts, result = among_good(backend, ask("Hi", **{"max_tokens": 8, **changes}))
    assert texts == want
    assert isinstance(result.error, EngineError) or result.done.usage.completion_tokens <= 8


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("((a{1,500}){1,500}){1,500}", "too complex"), ("\u0130{3}", "")],
    ids=["grows too large while it is followed", "no token goes with it"],
)
def test_a_grammar_that_cannot_be_followed_is_named(
    backend: Any, want: list[str], pattern: str, words: str
) -> None:
    asked = ask("Hi", sampling=GREEDY, max_tokens=40, constraint=Constraint("regex", pattern))
    texts, result = among_good(backend, asked)
    assert texts == want
    if result.error is not None or words:
        assert isinstance(result.error, BadRequest)
        assert result.error.param == "response_format" and words in result.error.message


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 9, 14])
def test_cancelled_in_any_phase_it_changes_nothing_for_the_others(
    backend: Any, want: list[str], step: int
) -> None:
    def cancel(now: int) -> None:
        if now == step:
            backend.cancel(3)

    bad = ask(LONG, sampling=GREEDY, max_tokens=60, n=2, ignore_eos=True)
    texts, _ = among_good(backend, bad, cancel)
    assert texts == want
    assert not backend.is_busy and not backend.by_uid and backend.scheduler.rows == 0


def explode(context: Any, logits: Any) -> Any:
    raise RuntimeError("bomb")


@pytest.mark.parametrize("when", ["prefill", "decode", "alone"])
def test_one_that_breaks_a_step_is_given_up_alone(backend: Any, want: list[str], when: str) -> None:
    step = {"prefill": 2, "decode": 12, "alone": 30}[when]

    def break_it(now: int) -> None:
        if now == step and 3 in backend.rows:
            backend.rows[3].choices[0].plan.processors.append(explode)

    bad = ask(LONG if when == "prefill" else "Hi", sampling=GREEDY, max_tokens=60, ignore_eos=True)
    texts, result = among_good(backend, bad, break_it)
    assert texts == want
    assert result.error is not None and "bomb" in result.error.message
