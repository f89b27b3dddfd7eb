"""Who is prefilled when: fairness is counted in steps, so that no clock is needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.backends.scheduler import MIN_CHUNK_TOKENS
from mlxgui.engine.types import Event, GenerationRequest, Progress, Sampling, Text
from tests.conftest import ask
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0)
LONG = "one two three four five six seven " * 60


@pytest.fixture
def backend(text_model: Path) -> Iterator[Any]:
    yield load_text(text_model, prefill_step_tokens=64, max_parallel=4)


def add(backend: Any, id: int, request: GenerationRequest) -> None:
    backend.add(id, backend.prepare(request))
    backend._early.clear()  # `Started` has a step of its own, before any work


def step(backend: Any, times: int = 1) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = {}
    for _ in range(times):
        for id, event in backend.step():
            events.setdefault(id, []).append(event)
    return events


def has_text(events: list[Event]) -> bool:
    return any(isinstance(event, Text) for event in events)


def test_a_short_request_behind_a_long_prefill_starts_after_one_chunk(backend: Any) -> None:
    add(backend, 1, ask(LONG, sampling=GREEDY, max_tokens=4))
    seen = step(backend, 3)[1]
    assert sum(isinstance(event, Progress) for event in seen) == 3
    add(backend, 2, ask("Hi", sampling=GREEDY, max_tokens=4))
    # One step prefills it beside nothing else, the next one reads its first token.
    events = step(backend, 3)
    assert has_text(events[2])
    assert not has_text(events.get(1, []))
    assert backend.rows[1].entry.left_tokens > 0


def test_a_token_is_told_before_the_next_prompt_is_read(backend: Any) -> None:
    add(backend, 1, ask("Hi", sampling=GREEDY, max_tokens=4, ignore_eos=True))
    add(backend, 2, ask(LONG, sampling=GREEDY, max_tokens=4))
    seen = step(backend, 2)  # the short one is read, and says its first token
    assert has_text(seen[1]) and 2 not in seen
    assert not backend.reads_next
    assert step(backend) == {}  # its second one is made, and told with the next step
    assert backend.reads_next
    assert isinstance(step(backend)[2][0], Progress)
    assert not backend.reads_next


def test_decoding_goes_on_while_a_long_prompt_is_read(backend: Any) -> None:
    add(backend, 1, ask("Hi", sampling=GREEDY, max_tokens=60, ignore_eos=True))
    step(backend, 3)
    add(backend, 2, ask(LONG, sampling=GREEDY, max_tokens=4))
    for _ in range(5):
        decoded = len(backend.rows[1].choices[0].generated)
        events = step(backend, 2)  # a token is told, then a chunk is read
        assert len(backend.rows[1].choices[0].generated) == decoded + 1
        assert any(isinstance(event, Progress) for event in events[2])


def test_a_chunk_is_never_larger_than_allowed(backend: Any) -> None:
    add(backend, 1, ask(LONG, sampling=GREEDY, max_tokens=2))
    total, before = len(backend.rows[1].prompt.tokens), 0
    while backend.rows:
        for event in step(backend).get(1, []):
            if isinstance(event, Progress):
                assert 0 < event.processed_tokens - before <= 64
                assert event.total_tokens == total
                before = event.processed_tokens
    assert before > total - 128


def test_higher_priority_is_prefilled_first(backend: Any) -> None:
    backend.scheduler.max_rows = 1
    add(backend, 1, ask("first", sampling=GREEDY, max_tokens=3, ignore_eos=True))
    step(backend, 2)
    for id, priority in ((2, -10), (3, 0), (4, 10)):
        request = ask("next", sampling=GREEDY, max_tokens=3, ignore_eos=True, priority=priority)
        add(backend, id, request)
    order: list[int] = []
    while backend.rows:
        for id, events in step(backend).items():
            if has_text(events) and id not in order:
                order.append(id)
    assert order == [1, 4, 3, 2]


def test_a_long_prompt_is_not_passed_over_for_ever(backend: Any) -> None:
    scheduler = backend.scheduler
    add(backend, 1, ask(LONG, sampling=GREEDY, max_tokens=1))
    long = scheduler.waiting[0]
    long.waits_since -= 10.0  # it has waited ten seconds
    add(backend, 2, ask("Hi", sampling=GREEDY, max_tokens=1))
    assert scheduler._choose() == [long]


def test_a_short_one_passes_a_long_one_however_long_that_is_being_read(backend: Any) -> None:
    scheduler = backend.scheduler
    add(backend, 1, ask(LONG, sampling=GREEDY, max_tokens=1))
    long = scheduler.waiting[0]
    long.waits_since -= 10.0  # slow machine: it came ten seconds ago
    step(backend, 1)
    assert long.done_tokens > 0
    add(backend, 2, ask("Hi", sampling=GREEDY, max_tokens=1))
    assert long not in scheduler._choose()


@pytest.mark.parametrize(("count", "together"), [(3, 1), (4, 1), (6, 3)])
def test_few_are_read_one_after_the_other_and_a_crowd_in_larger_passes(
    backend: Any, count: int, together: int
) -> None:
    scheduler = backend.scheduler
    scheduler.max_rows, scheduler.max_chunk_tokens = 16, 512
    for id in range(count):
        add(backend, id, ask(f"{id} three words more", sampling=GREEDY, max_tokens=1))
    tokens = max(entry.left_tokens for entry in scheduler.waiting)
    assert tokens >= MIN_CHUNK_TOKENS / 2
    # A pass of a quarter of a second holds three of them, one of a tenth no two.
    scheduler.speed.tokens_per_second = 3.2 * tokens / 0.25
    assert scheduler._chunk(0.1) < 2 * tokens
    assert len(scheduler._choose()) == together
    for id in range(count):
        backend.cancel(id)


def test_many_requests_in_few_places_all_say_what_they_say_alone(backend: Any) -> None:
    requests = [ask(f"{i} " + "word " * (i * 9), sampling=GREEDY, max_tokens=6) for i in range(12)]
    together = [result.text for result in run(backend, requests)]
    assert together == [run(backend, [request])[0].text for request in requests]
    assert not backend.scheduler.is_busy and backend.scheduler.kv_bytes == 0


def test_a_long_prompt_that_is_given_up_is_not_read_again(backend: Any) -> None:
    request = ask(LONG, sampling=GREEDY, max_tokens=4)
    add(backend, 1, request)
    step(backend, 4)
    backend.cancel(1)
    (result,) = run(backend, [request])
    assert result.done.usage.cached_tokens >= 3 * 32
    fresh = load_text(Path(backend.spec.path))
    assert result.text == run(fresh, [request])[0].text
