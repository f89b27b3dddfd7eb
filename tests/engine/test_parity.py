"""Greedy text equals mlx-lm's own, alone and in a batch of sixteen with mixed options.

On four kinds of memory: full attention, sliding window, convolution beside attention, state space.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from mlxgui.engine.types import Constraint, Sampling
from tests import tiny
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

WORDS = [
    "class",
    "import",
    "function",
    "value",
    "return",
    "object",
    "list",
    "the",
    "of",
    "a",
    "module",
    "string",
]
PROMPTS = [" ".join(WORDS[(i * 7 + k * k) % len(WORDS)] for k in range(2 + i)) for i in range(50)]
TOKENS = 10
MIXED: list[dict[str, Any]] = [
    {"sampling": Sampling(seed=1, top_p=0.9), "logprobs": 2},
    {"sampling": Sampling(temperature=0, presence_penalty=1.5, repetition_penalty=1.2)},
    {"sampling": Sampling(seed=3), "constraint": Constraint("json_object")},
    {"sampling": Sampling(top_k=5, min_p=0.1, temperature=0.7)},
    {"sampling": Sampling(seed=5, logit_bias={9: 4.0}), "min_tokens": 3},
    {"sampling": Sampling(seed=6, xtc_probability=0.5), "stop": ["a", "e"]},
    {"sampling": Sampling(temperature=0), "constraint": Constraint("regex", "[a-d]{2,9}")},
    {"sampling": Sampling(seed=8, frequency_penalty=1.0), "ignore_eos": True},
]


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("parity") / request.param
    yield load_text(tiny.make_text_model(folder, tiny.ARCHITECTURES[request.param]))


def of_the_library(backend: Any, prompt: str) -> str:
    from mlx_lm import stream_generate

    ids = backend.prepare(ask(prompt)).tokens
    parts = stream_generate(backend.model, backend.tokenizer, ids, max_tokens=TOKENS)
    return "".join(part.text for part in parts)


def test_fifty_prompts_say_what_the_library_says(backend: Any) -> None:
    want = [of_the_library(backend, prompt) for prompt in PROMPTS]
    greedy = [ask(p, sampling=Sampling(temperature=0), max_tokens=TOKENS) for p in PROMPTS]
    assert [run(backend, [request])[0].text for request in greedy] == want
    # Sixteen at a time, every second one of another kind; those must change nothing for the rest.
    for start in range(0, 48, 8):
        prompts = PROMPTS[start : start + 8]
        others = [
            ask(p, max_tokens=3 + i, **kind)
            for i, (p, kind) in enumerate(zip(prompts, MIXED, strict=True))
        ]
        mixed = [r for pair in zip(greedy[start : start + 8], others, strict=True) for r in pair]
        texts = [result.text for result in run(backend, mixed)][::2]
        assert texts == want[start : start + 8]
