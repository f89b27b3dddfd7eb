"""A quantised KV cache inside the batch: the library's own text, whoever is beside it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import LoadFailed
from mlxgui.engine.types import GenerationRequest, Logprobs, Message, Sampling
from tests import tiny
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

START = 60
GREEDY = Sampling(temperature=0)
# Tokens of the prompts: well below the start, just below it (so that it is passed while the answer
# is written), just above, and far above.
PROMPTS = ["word " * n for n in (3, 20, 24, 30, 50, 90, 140, 200)]


def greedy(text: str, **changes: Any) -> GenerationRequest:
    return ask(text, **{"sampling": GREEDY, "max_tokens": 24, "ignore_eos": True, **changes})


@pytest.fixture(scope="module", params=[4, 8])
def backend(request: pytest.FixtureRequest, text_model: Path) -> Iterator[Any]:
    yield load_text(text_model, kv_bits=request.param, kv_start_tokens=START)


def of_the_library(backend: Any, prompt: str, **options: Any) -> str:
    from mlx_lm import stream_generate

    ids = backend.prepare(greedy(prompt)).tokens
    backend.tokenizer._eos_token_ids, ends = set(), backend.tokenizer._eos_token_ids
    try:
        parts = stream_generate(backend.model, backend.tokenizer, ids, max_tokens=24, **options)
        return "".join(part.text for part in parts)
    finally:
        backend.tokenizer._eos_token_ids = ends


def test_text_is_the_library_s_alone_and_beside_others(backend: Any) -> None:
    # The library quantises where a chunk ends; a chunk as long as the start ends exactly there.
    options = {
        "kv_bits": backend.spec.options.kv_bits,
        "quantized_kv_start": START,
        "prefill_step_size": START,
    }
    want = [of_the_library(backend, prompt, **options) for prompt in PROMPTS]
    assert [run(backend, [greedy(prompt)])[0].text for prompt in PROMPTS] == want
    backend.prompt_cache.reset()
    assert [result.text for result in run(backend, [greedy(p) for p in PROMPTS])] == want
    assert backend.scheduler.kv_bytes == 0


def test_quantising_is_felt(backend: Any, text_model: Path) -> None:
    """Otherwise the comparisons above would compare nothing."""

    def numbers(one: Any, prompt: str) -> list[float]:
        events = run(one, [greedy(prompt, logprobs=0)])[0].events
        return [token.logprob for e in events if isinstance(e, Logprobs) for token in e.tokens]

    plain = load_text(text_model)
    assert numbers(plain, PROMPTS[0]) == pytest.approx(numbers(backend, PROMPTS[0]), abs=1e-4)
    assert numbers(plain, PROMPTS[6]) != pytest.approx(numbers(backend, PROMPTS[6]), abs=1e-4)


def test_all_of_it_is_quantised_from_the_first_token(text_model: Path) -> None:
    from mlx_lm.models.cache import QuantizedKVCache

    backend = load_text(text_model, kv_bits=4, kv_start_tokens=0)
    want = []
    for prompt in PROMPTS:
        cache = [QuantizedKVCache(64, 4) for _ in backend.model.layers]
        want.append(of_the_library(backend, prompt, prompt_cache=cache))
    assert [run(backend, [greedy(prompt)])[0].text for prompt in PROMPTS] == want
    backend.prompt_cache.reset()
    assert [result.text for result in run(backend, [greedy(p) for p in PROMPTS])] == want


def test_rows_that_come_and_go_change_nothing_for_the_others(backend: Any) -> None:
    requests = [greedy(prompt, max_tokens=8 + 5 * i) for i, prompt in enumerate(PROMPTS)]
    want = [run(backend, [request])[0].text for request in requests]

    def cancel(step: int) -> None:
        if step == 14:
            backend.cancel(4)
        if step == 22:
            backend.cancel(6)

    texts = [result.text for result in run(backend, requests, at_step=cancel)]
    stay = [i for i in range(8) if i not in (3, 5)]
    assert [texts[i] for i in stay] == [want[i] for i in stay]
    assert want[3].startswith(texts[3]) and want[5].startswith(texts[5])


def test_choices_and_seeds_and_probabilities_go_along_when_a_row_moves(backend: Any) -> None:
    seeded = Sampling(seed=4, top_p=0.9)
    request = ask(PROMPTS[2], sampling=seeded, n=3, max_tokens=30, logprobs=2, ignore_eos=True)
    (alone,) = run(backend, [request])
    beside = run(backend, [greedy(PROMPTS[5]), request, greedy(PROMPTS[0])])[1]

    def told(result: Any) -> dict[int, tuple[str, list[int]]]:
        found: dict[int, tuple[str, list[int]]] = {}
        for event in result.events:
            if type(event).__name__ == "Text":
                text, ids = found.get(event.index, ("", []))
                found[event.index] = (text + event.text, ids)
            if type(event).__name__ == "Logprobs":
                text, ids = found.get(event.index, ("", []))
                found[event.index] = (text, [*ids, *(token.id for token in event.tokens)])
        return found

    assert told(alone) == told(beside)
    assert {len(ids) for _, ids in told(alone).values()} == {30}


@pytest.mark.parametrize("start", [0, START])
def test_reuse_changes_no_text_of_conversations_that_grow_and_branch(
    text_model: Path, start: int
) -> None:
    backend = load_text(text_model, kv_bits=4, kv_start_tokens=start)
    cold = load_text(text_model, kv_bits=4, kv_start_tokens=start)
    chance = random.Random(7)
    talks: list[list[Message]] = [[Message("system", "Be kind and brief. " * 2)]]
    reused = 0
    for _ in range(6):
        asked = []
        for _ in range(3):
            talk = chance.choice(talks)
            cut = chance.randrange(1, len(talk) + 1) if len(talk) > 2 else len(talk)
            words = "tell me of rivers and trees " * chance.randrange(1, 4)
            asked.append([*talk[:cut], Message("user", words)])
        requests = [
            GenerationRequest(messages=m, sampling=GREEDY, max_tokens=12, logprobs=0) for m in asked
        ]
        answers = run(backend, requests)
        for request, answer in zip(requests, answers, strict=True):
            cold.prompt_cache.reset()
            (fresh,) = run(cold, [request])
            assert answer.text == fresh.text
            assert fresh.done.usage.cached_tokens == 0
            reused += answer.done.usage.cached_tokens
            talks.append([*request.messages, Message("assistant", answer.text)])
    assert reused > 500


def test_a_quantised_prompt_comes_back_from_disk(tmp_path: Path, text_model: Path) -> None:
    options: dict[str, Any] = {
        "kv_bits": 4,
        "kv_start_tokens": START,
        "prompt_cache_folder": str(tmp_path),
        "prompt_cache_disk_bytes": 1 << 26,
    }
    first = load_text(text_model, **options)
    request = greedy("many words " * 200)
    want = run(first, [request])[0].text
    first.close(5)
    second = load_text(text_model, **options)
    (again,) = run(second, [request])
    assert again.text == want
    assert again.done.usage.cached_tokens > 300
    # Under another setting the same file is no use.
    other = load_text(text_model, **{**options, "kv_bits": 8})
    assert run(other, [request])[0].done.usage.cached_tokens == 0


def test_a_quantised_cache_is_smaller(text_model: Path) -> None:
    sizes = {}
    for bits in (0, 8, 4):
        backend = load_text(text_model, kv_bits=bits, kv_start_tokens=0)
        id = 1
        backend.add(id, backend.prepare(greedy("word " * 250, max_tokens=2)))
        while not backend.rows[id].first_token_at:
            backend.step()
        sizes[bits] = backend.scheduler.kv_bytes
    # float32 numbers: 32 bits each against 8 or 4, and a scale and a bias for each group of 64.
    assert sizes[8] < 0.35 * sizes[0] and sizes[4] < 0.6 * sizes[8]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gemma3", "RotatingKVCache"),
        ("mamba2", "a state of fixed size"),
        ("narrow", "48 wide"),
    ],
)
def test_a_model_that_cannot_says_so_when_it_is_loaded(
    tmp_path: Path, name: str, reason: str
) -> None:
    config = tiny.ARCHITECTURES.get(name, {**tiny.QWEN3, "head_dim": 48})
    folder = tiny.make_text_model(tmp_path / name, config)
    with pytest.raises(LoadFailed, match=f"kv_quantization does not go with .*{reason}"):
        load_text(folder, kv_bits=8)
    load_text(folder)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kv_bits": 3}, "4 or 8 bits, not 3"),
        ({"kv_bits": 4, "kv_group_size": 48}, "32, 64 or 128, not 48"),
        ({"kv_bits": 4, "kv_group_size": 128}, "64 wide, which a group of 128"),
        ({"kv_bits": 4, "max_kv_tokens": 512}, "max_kv_size"),
    ],
)
def test_settings_that_cannot_be_are_named(
    text_model: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LoadFailed, match=reason):
        load_text(text_model, **options)


def test_what_is_loaded_says_whether_it_could(text_model: Path, tmp_path: Path) -> None:
    from mlxgui.engine.backends.quantised import can_quantise

    assert can_quantise(load_text(text_model).model) == ""
    hybrid = load_text(tiny.make_text_model(tmp_path / "lfm2", tiny.LFM2))
    assert can_quantise(hybrid.model, 64).startswith("its heads are 32 wide")
    assert can_quantise(hybrid.model, 32) == ""


def test_keys_and_values_of_a_hybrid_are_quantised_and_its_state_is_not(tmp_path: Path) -> None:
    folder = tiny.make_text_model(tmp_path / "lfm2", tiny.LFM2)
    backend = load_text(folder, kv_bits=8, kv_group_size=32, kv_start_tokens=START)
    options = {
        "kv_bits": 8,
        "kv_group_size": 32,
        "quantized_kv_start": START,
        "prefill_step_size": START,
    }
    want = [of_the_library(backend, prompt, **options) for prompt in PROMPTS[:6]]
    assert [result.text for result in run(backend, [greedy(p) for p in PROMPTS[:6]])] == want


def row_of(tokens: int) -> Any:
    """One row's cache with so many random keys and values."""
    import mlx.core as mx
    from mlx_lm.models.cache import QuantizedKVCache

    cache = QuantizedKVCache(group_size=32, bits=8)
    if tokens:
        fresh = mx.random.normal((1, 2, tokens, 32))
        cache.update_and_fetch(fresh, fresh + 1)
    return cache


def change(move: str, batch: Any, rows: list[Any], chance: random.Random) -> None:
    """The same to the batch and to the caches of one row each."""
    import mlx.core as mx

    if move == "grow":
        fresh = mx.random.normal((len(rows), 2, chance.choice([1, 3, 40]), 32))
        batch.update_and_fetch(fresh, fresh + 1)
        for i, row in enumerate(rows):
            row.update_and_fetch(fresh[i : i + 1], fresh[i : i + 1] + 1)
    elif move == "join":
        rows.append(row_of(chance.randrange(1, 400)))
        batch.extend(type(batch).merge(rows[-1:]))
    elif move == "leave" and len(rows) > 2:
        gone = chance.randrange(len(rows))
        rows.pop(gone)
        batch.filter([i for i in range(len(rows) + 1) if i != gone])
    elif move == "cut" and min(row.offset for row in rows) > 2:
        for one in (batch, *rows):
            one.trim(2)


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_holds_exactly_what_each_row_holds_alone(seed: int) -> None:
    """Random joins, leaves, cuts and growth."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    from mlxgui.engine.backends.quantised import BatchQuantisedKV

    chance = random.Random(seed)
    mx.random.seed(seed)
    rows = [row_of(n) for n in (5, 0, 290)]
    batch = BatchQuantisedKV.merge(rows)
    for _ in range(12):
        change(chance.choice(["grow", "grow", "join", "leave", "cut"]), batch, rows, chance)
        assert batch.offset.tolist() == [row.offset for row in rows]
        for i, row in enumerate(rows):
            own = batch.extract(i)
            assert own.offset == row.offset
            held = [tree_flatten(c.keys_and_values()) for c in (own, row) if row.offset]
            for (_, one), (_, other) in zip(*held, strict=True):
                assert mx.array_equal(one, other)
