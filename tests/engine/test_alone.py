"""A row without a neighbour: its cache, neighbours that come and go, its first word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import BatchKVCache, KVCache

from mlxgui.engine.backends.alone import AloneKV, alone, side_by_side
from mlxgui.engine.backends.speed import FEWEST_TOKENS, SHARE, PrefillSpeed
from mlxgui.engine.types import Event, Finished, Sampling, Text
from tests.conftest import ask
from tests.engine.backend import load_text, run

GREEDY = Sampling(temperature=0)


def filled(tokens: int) -> AloneKV:
    cache = AloneKV.of(KVCache())
    add(cache, range(tokens))
    return cache


def add(cache: KVCache, numbers: range) -> None:
    new = mx.array(list(numbers), mx.float32)[None, None, :, None]
    cache.update_and_fetch(new, -new)


def keys_of(cache: KVCache) -> list[float]:
    assert cache.keys is not None
    found: list[float] = cache.keys[0, 0, : cache.offset, 0].tolist()
    return found


# -- the cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [5, AloneKV.step])
def test_what_was_taken_out_does_not_see_what_comes_later(tokens: int) -> None:
    cache = filled(tokens)
    taken = cache.extract(0)
    cache.trim(2)
    add(cache, range(100, 104))
    assert keys_of(taken) == list(range(tokens))
    assert keys_of(cache) == [*range(tokens - 2), *range(100, 104)]
    add(taken, range(7, 8))
    assert keys_of(taken) == [*range(tokens), 7]
    assert keys_of(cache) == [*range(tokens - 2), *range(100, 104)]


def test_an_empty_one_is_taken_out_empty() -> None:
    assert AloneKV().extract(0).empty()


def test_a_row_moves_into_a_batch_and_out_of_it() -> None:
    (batch,) = side_by_side([filled(5)])
    assert type(batch) is BatchKVCache
    (neighbour,) = side_by_side([filled(3)])
    batch.extend(neighbour)
    batch.filter([1])
    (row,) = alone([batch])
    assert type(row) is AloneKV and keys_of(row) == [0, 1, 2]


def test_caches_of_other_kinds_stay_what_they_are() -> None:
    other = object()
    assert alone([other]) == side_by_side([other]) == [other]


# -- in the batch ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(text_model: Path) -> Any:
    return load_text(text_model, max_parallel=8)


@pytest.fixture
def backend(loaded: Any) -> Iterator[Any]:
    loaded.prompt_cache.reset()
    yield loaded
    for id in list(loaded.rows):
        loaded.cancel(id)


def kinds_of(backend: Any) -> set[type]:
    return {type(layer) for layer in backend.scheduler._decoding.plain.prompt_cache}


@pytest.mark.model
def test_neighbours_that_come_and_go_change_no_text(backend: Any) -> None:
    long = ask("a long answer", sampling=GREEDY, max_tokens=40, ignore_eos=True)
    short = ask("a short one", sampling=Sampling(seed=3), max_tokens=6, ignore_eos=True)
    (wanted,) = run(backend, [long])
    backend.prompt_cache.reset()
    backend.add(1, backend.prepare(long))
    seen: list[set[type]] = []
    text = ""
    step = 0
    while backend.is_busy:
        step += 1
        if step in (12, 30):
            backend.add(step, backend.prepare(short))
        text += "".join(e.text for id, e in backend.step() if id == 1 and isinstance(e, Text))
        if (kinds := kinds_of(backend)) and kinds not in seen[-1:]:
            seen.append(kinds)
    assert text == wanted.text
    assert seen == [{AloneKV}, {BatchKVCache}, {AloneKV}, {BatchKVCache}, {AloneKV}]


@pytest.mark.model
def test_a_first_token_may_be_the_last(backend: Any) -> None:
    request = ask("Hi", sampling=GREEDY, max_tokens=1, ignore_eos=True, n=3)
    (result,) = run(backend, [request])
    reasons = [event.reason for event in result.events if isinstance(event, Finished)]
    assert reasons == ["length"] * 3
    assert result.done.usage.completion_tokens == 3
    assert backend.scheduler.kv_bytes == 0


@pytest.mark.model
@pytest.mark.parametrize("steps", [3, 4, 5, 6])
def test_one_that_leaves_at_its_first_words_leaves_a_cache_that_holds(
    backend: Any, steps: int
) -> None:
    """Told, but not yet read by the model: the prompt cache must not think that it was."""
    request = ask("one two three four", sampling=GREEDY, max_tokens=12, ignore_eos=True)
    (wanted,) = run(backend, [request])
    backend.prompt_cache.reset()
    backend.add(1, backend.prepare(request))
    said: list[Event] = []
    for _ in range(steps):
        said += [event for _, event in backend.step() if isinstance(event, Text)]
    assert said
    backend.cancel(1)
    assert backend.prompt_cache.stats()["memory"]["refused"] == 0
    (again,) = run(backend, [request])
    assert again.text == wanted.text
    assert again.done.usage.cached_tokens == again.done.usage.prompt_tokens - 1


# -- how fast prompts are read --------------------------------------------------------------------


def test_the_speed_follows_what_was_measured() -> None:
    speed = PrefillSpeed(1000.0)
    speed.began(100, started=0.0)  # long ago: hardly a token a second
    speed.ended()
    assert speed.tokens_per_second == pytest.approx(1000.0 * (1 - SHARE), abs=20)
    slower = speed.tokens_per_second
    speed.ended()  # nothing was read since
    speed.began(FEWEST_TOKENS - 1, started=0.0)
    speed.ended()
    assert speed.tokens_per_second == slower
    assert speed.tokens_in(0.5) == int(slower / 2)
