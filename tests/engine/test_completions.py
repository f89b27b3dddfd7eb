"""Prompts as tokens, with a gap, echoed, scored, only read: what completions ask of a model."""

import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.types import (
    Finished,
    GenerationRequest,
    Logprobs,
    Sampling,
    Started,
    Text,
    TokenProb,
)
from tests.engine.backend import Result, load_text, run

pytestmark = pytest.mark.model
COLD = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Any:
    return load_text(text_model)


def ask(**changes: Any) -> GenerationRequest:
    whole: dict[str, Any] = {"prompt": "The import statement", "sampling": COLD, "max_tokens": 4}
    return GenerationRequest(**{**whole, **changes})


def probs_of(result: Result) -> list[TokenProb]:
    return [prob for event in result.events if isinstance(event, Logprobs) for prob in event.tokens]


def test_tokens_are_a_prompt_like_their_text(backend: Any) -> None:
    ids = backend.tokenizer.encode("The import statement")
    by_text, by_ids = run(backend, [ask(), ask(prompt="", prompt_tokens=ids)])
    assert by_text.text == by_ids.text and by_text.done.usage == by_ids.done.usage


@pytest.mark.parametrize("wrong", [[-1], [100_000], [3, 512]])
def test_tokens_that_the_model_does_not_have_are_refused(backend: Any, wrong: list[int]) -> None:
    (result,) = run(backend, [ask(prompt="", prompt_tokens=wrong)])
    assert isinstance(result.error, BadRequest) and result.error.param == "prompt"


def test_an_echo_comes_before_the_answer(backend: Any) -> None:
    plain, echoed = run(backend, [ask(), ask(echo=True, n=2)])
    texts = [event for event in echoed.events if isinstance(event, Text)]
    for index in (0, 1):
        own = "".join(event.text for event in texts if event.index == index)
        assert own == "The import statement" + plain.text
    assert isinstance(echoed.events[0], Started)


@pytest.mark.parametrize("words", [1, 120])
def test_a_prompts_own_tokens_are_scored_as_one_forward_pass_scores_them(
    backend: Any, words: int
) -> None:
    """120 words are several chunks. Others answer meanwhile."""
    text = "The import statement " * words
    scored, other = run(backend, [ask(prompt=text, echo=True, logprobs=2, max_tokens=2), ask()])
    ids = backend.tokenizer.encode(text)
    logits = backend.model(mx.array(ids)[None])[0].astype(mx.float32)
    wanted = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    probs = probs_of(scored)
    assert [prob.id for prob in probs[: len(ids)]] == ids and len(probs) == len(ids) + 2
    assert math.isnan(probs[0].logprob) and not probs[0].alternatives
    for place, prob in enumerate(probs[1 : len(ids)]):
        assert prob.logprob == pytest.approx(wanted[place, ids[place + 1]].item(), abs=2e-3)
        assert len(prob.alternatives) == 2
        assert prob.alternatives[0].logprob == pytest.approx(wanted[place].max().item(), abs=2e-3)
    assert other.done.usage.completion_tokens == 4
    (alone,) = run(backend, [ask(prompt=text, max_tokens=2)])
    assert scored.text == text + alone.text


def test_a_prompt_can_be_read_and_nothing_written(backend: Any) -> None:
    (result,) = run(backend, [ask(echo=True, logprobs=0, read_only=True)])
    assert result.text == "The import statement"
    assert result.done.usage.completion_tokens == 0 and result.done.usage.prompt_tokens > 0
    assert [event.reason for event in result.events if isinstance(event, Finished)] == ["length"]
    assert not backend.is_busy


def test_a_request_that_is_being_scored_can_be_cancelled(backend: Any) -> None:
    backend.add(77, backend.prepare(ask(prompt="word " * 600, echo=True, logprobs=0)))
    backend.step()
    assert backend.is_busy
    backend.cancel(77)
    assert not backend.is_busy


def test_the_space_that_a_text_begins_with_is_kept(backend: Any) -> None:
    texts = [backend.tokenizer.decode([token]) for token in range(500)]
    word = next(i for i, text in enumerate(texts) if text[0] == " " and text.strip())
    forced = Sampling(temperature=0.0, logit_bias={word: 100.0})
    (result,) = run(backend, [ask(sampling=forced, max_tokens=2)])
    assert result.text == backend.tokenizer.decode([word]) * 2


def test_raw_text_keeps_what_would_be_markup_in_a_chat(thinking_model: Path) -> None:
    """A token of markup is drawn by force: in raw text it is text like any other."""
    backend = load_text(thinking_model)
    (think,) = backend.tokenizer.encode("<think>")
    forced = Sampling(temperature=0.0, logit_bias={think: 100.0})
    (raw,) = run(backend, [ask(sampling=forced, max_tokens=3)])
    assert raw.text == "<think>" * 3 and not raw.thinking


def test_a_gap_needs_tokens_for_it(backend: Any) -> None:
    (result,) = run(backend, [ask(suffix="the end")])
    assert isinstance(result.error, Unsupported) and result.error.param == "suffix"


def test_a_gap_stands_between_its_markers(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlxgui.engine.backends.tokens import with_gap

    names = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    plain = backend.tokenizer

    class Filling:
        bos_token_id = None
        encode = staticmethod(plain.encode)

        @staticmethod
        def get_vocab() -> dict[str, int]:
            return {**plain.get_vocab(), **dict(zip(names, (600, 601, 602), strict=True))}

    found = with_gap(Filling(), "def f(", "return x")
    head, tail = plain.encode("def f("), plain.encode("return x")
    assert found == [600, *head, 601, *tail, 602]


def test_texts_are_cut_into_tokens_and_put_together_again(backend: Any) -> None:
    request = {"prompt": "The import statement"}
    cut = backend.call("tokenize", {"request": request, "pieces": True})
    assert "".join(cut["pieces"]) == "The import statement"
    assert backend.call("detokenize", {"tokens": cut["tokens"]}) == {"text": "The import statement"}
    messages = [{"role": "user", "content": "Hi"}]
    chat = backend.call("tokenize", {"request": {"messages": messages}})["tokens"]
    assert len(chat) > len(backend.tokenizer.encode("Hi"))
    with pytest.raises(BadRequest):
        backend.call("detokenize", {"tokens": [-4]})
