"""What a worker lets in: refused with numbers, shortened, or made to wait its turn."""

from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.backends import budget as budgets
from mlxgui.engine.backends.limits import set_limits
from mlxgui.engine.errors import BadRequest, ContextOverflow, NotEnoughMemory
from mlxgui.engine.kv import kv_shape
from mlxgui.engine.memory import GIB, MIB
from mlxgui.engine.plan import largest_context, plan_of
from mlxgui.engine.types import GenerationRequest, Message, Sampling, Text
from tests import tiny
from tests.engine.backend import load_text, run

pytestmark = pytest.mark.model

GREEDY = Sampling(temperature=0)
A_TOKEN = 1024  # of the tiny model's KV cache: two layers, one head of 64, 32 bits


@pytest.fixture(scope="module")
def backend(text_model: Path) -> Any:
    return load_text(text_model)


@pytest.fixture
def narrow(backend: Any) -> Any:
    """Room for 1,024 tokens of KV cache in all."""
    narrow_down(backend)
    yield backend
    backend.budget.set(0)


def narrow_down(backend: Any) -> None:
    plan = plan_of(backend.spec, context_tokens=1024, on_processor=True)
    other = plan.process_bytes + plan.transient_bytes + backend.budget.weights_bytes
    backend.budget.set(other + 1024 * A_TOKEN)


def asked(words: int, **changes: Any) -> GenerationRequest:
    message = Message("user", "word " * words)
    return GenerationRequest(messages=[message], sampling=GREEDY, **changes)


def tokens_of(backend: Any, request: GenerationRequest) -> int:
    return len(backend.prompter.prompt(request).tokens)


def test_the_cache_is_measured_on_the_model_itself(backend: Any) -> None:
    assert backend.budget.shape.growing_bytes == A_TOKEN
    assert backend.budget.shape.number_bytes == 4
    assert backend.budget.kv_bytes == 0  # no bound was given


@pytest.mark.parametrize("architecture", ["gemma3", "lfm2", "mamba2"])
def test_windows_and_states_are_measured_like_they_are_planned(
    tmp_path: Path, architecture: str
) -> None:
    config = tiny.ARCHITECTURES[architecture]
    measured = load_text(tiny.make_text_model(tmp_path / "m", config)).budget.shape
    planned = kv_shape(config, 4)
    for tokens in (1, 300, 5000):
        assert measured.row_bytes(tokens) == planned.row_bytes(tokens)


def test_more_tokens_than_fit_are_refused_with_the_largest_that_would(narrow: Any) -> None:
    length = tokens_of(narrow, asked(20))
    with pytest.raises(ContextOverflow) as caught:
        narrow.prepare(asked(20, max_tokens=2000))
    assert caught.value.param == "max_tokens"
    most = 1024 - length
    assert f"max_tokens may be up to {most:,}" in caught.value.message
    assert narrow.prepare(asked(20, max_tokens=most)).max_tokens == most


@pytest.mark.parametrize("changes", [{}, {"max_tokens": 2000, "may_end_early": True}])
def test_an_answer_whose_length_nobody_asked_for_is_cut_to_what_fits(
    narrow: Any, changes: dict[str, Any]
) -> None:
    prompt = narrow.prepare(asked(20, **changes))
    assert prompt.max_tokens == 1024 - len(prompt.tokens)


def test_a_prompt_that_does_not_fit_is_refused_for_memory(narrow: Any) -> None:
    with pytest.raises(NotEnoughMemory, match=r"enough for 1,024 tokens"):
        narrow.prepare(asked(1500, max_tokens=1))


def test_more_choices_than_fit_name_how_many_would(narrow: Any) -> None:
    request = asked(150, max_tokens=10)
    assert 256 < tokens_of(narrow, request) <= 512
    assert narrow.prepare(request).request.n == 1
    with pytest.raises(BadRequest, match="n up to 2") as caught:
        narrow.prepare(asked(150, max_tokens=10, n=8))
    assert caught.value.param == "n"


def test_requests_that_fit_only_one_after_the_other_wait_and_say_the_same(narrow: Any) -> None:
    requests = [asked(60 + i, max_tokens=200) for i in range(4)]
    most_kv = 0

    def watch(step: int) -> None:
        nonlocal most_kv
        most_kv = max(most_kv, narrow.budget.stats()["kv_promised_bytes"])

    together = run(narrow, requests, at_step=watch)
    assert 512 * A_TOKEN < most_kv <= 1024 * A_TOKEN
    assert {result.reason for result in together} <= {"stop", "length"}
    narrow.budget.set(0)
    alone = [run(narrow, [request])[0].text for request in requests]
    assert [result.text for result in together] == alone


def test_a_long_request_is_not_overtaken_for_ever_by_short_ones(narrow: Any) -> None:
    """Nobody behind it begins before it, once its turn has come."""
    order: list[int] = []
    seen: set[int] = set()
    for id, request in enumerate(
        [asked(5, max_tokens=300, ignore_eos=True),
         asked(5, max_tokens=900, ignore_eos=True, priority=1),
         *[asked(5, max_tokens=200, ignore_eos=True)] * 3], 1,
    ):  # fmt: skip
        narrow.add(id, narrow.prepare(request))
        if id == 1:
            narrow.step()
            narrow.step()
    while len(order) < 2:
        for id, event in narrow.step():
            if isinstance(event, Text) and id not in seen:
                seen.add(id)
                order.append(id)
    assert order == [1, 2]
    for id in range(1, 6):
        narrow.cancel(id)


def test_a_cancelled_request_gives_its_share_back(narrow: Any) -> None:
    narrow.add(1, narrow.prepare(asked(5, max_tokens=900)))
    narrow.add(2, narrow.prepare(asked(5, max_tokens=900)))
    for _ in range(4):
        narrow.step()
    narrow.cancel(1)
    second: list[Any] = []
    while not any(isinstance(event, Text) for event in second):
        second += [event for id, event in narrow.step() if id == 2]
    narrow.cancel(2)
    assert not narrow.is_busy


def test_a_model_forced_in_with_a_shorter_context_keeps_to_what_was_said(backend: Any) -> None:
    """What the preview calls the longest text is what a request may have."""
    spec, budget = backend.spec, backend.budget
    room = plan_of(spec, context_tokens=1500, on_processor=True).needed_bytes
    most = largest_context(spec, room, on_processor=True)
    # What other tests of this process still hold counts as weights of this model.
    foreign = max(0, budget.weights_bytes - plan_of(spec, on_processor=True).weights_bytes)
    budget.set(room + foreign)
    try:
        prompt = backend.prepare(asked(20))
        assert 0.8 * most < len(prompt.tokens) + prompt.max_tokens <= 1.2 * most
    finally:
        budget.set(0)


def test_a_worker_that_has_no_room_at_all_still_serves_a_short_request(backend: Any) -> None:
    backend.budget.set(1)
    try:
        assert backend.budget.kv_bytes == backend.budget.row_bytes(budgets.SMALLEST_ROW_TOKENS)
        assert run(backend, [asked(5, max_tokens=8)])[0].done.usage.completion_tokens > 0
    finally:
        backend.budget.set(0)


def test_max_kv_size_bounds_prompt_and_answer(text_model: Path) -> None:
    bounded = load_text(text_model, max_kv_tokens=300)
    with pytest.raises(ContextOverflow, match=r"max_kv_size bounds the KV cache to 300") as caught:
        bounded.prepare(asked(400, max_tokens=1))
    assert caught.value.param == "messages"
    with pytest.raises(ContextOverflow, match=r"max_tokens may be up to \d+") as caught:
        bounded.prepare(asked(20, max_tokens=300))
    assert caught.value.param == "max_tokens"
    request = asked(20, max_tokens=2000, may_end_early=True, ignore_eos=True)
    done = run(bounded, [request])[0].done
    assert done.usage.total_tokens == 300


# -- mlx's own bounds -----------------------------------------------------------------------------


class Bounds:
    """Takes the place of mlx, whose limits belong to the whole process."""

    def __init__(self, recommended_bytes: int = 0) -> None:
        self.memory = self.cache = self.wired = 0
        self.recommended_bytes = recommended_bytes

    def set_memory_limit(self, size_bytes: int) -> None:
        self.memory = size_bytes

    def set_cache_limit(self, size_bytes: int) -> None:
        self.cache = size_bytes

    def set_wired_limit(self, size_bytes: int) -> None:
        self.wired = size_bytes

    def device_info(self) -> dict[str, int]:
        most = self.recommended_bytes
        return {"max_recommended_working_set_size": most} if most else {}


@pytest.mark.parametrize(
    ("arrays", "weights", "memory", "cache"),
    [
        (0, 4 * GIB, 0, GIB),  # no plan: mlx's own limit, and a quarter of the weights
        (0, 100 * MIB, 0, 128 * MIB),
        (0, 40 * GIB, 0, 2 * GIB),
        (10 * GIB, 4 * GIB, 10 * GIB, GIB),
        (5 * GIB, 4 * GIB, 5 * GIB, 512 * MIB),  # half of what is left beside the weights
        (3 * GIB, 4 * GIB, 4 * GIB + 128 * MIB, 128 * MIB),
    ],
)
def test_mlx_is_bounded_by_the_plan(arrays: int, weights: int, memory: int, cache: int) -> None:
    bounds = Bounds(64 * GIB)
    set_limits(arrays, weights, to=bounds)
    assert (bounds.memory, bounds.cache, bounds.wired) == (memory, cache, 0)


@pytest.mark.parametrize(
    ("arrays", "recommended", "wired"),
    [
        (10 * GIB, 12 * GIB, 10 * GIB),
        (20 * GIB, 12 * GIB, 12 * GIB),  # no more than macOS recommends
        (0, 12 * GIB, 12 * GIB),
        (10 * GIB, 0, 0),  # no GPU that names one
    ],
)
def test_the_wired_limit_is_raised_to_the_plan_where_a_person_wants_it(
    arrays: int, recommended: int, wired: int
) -> None:
    bounds = Bounds(recommended)
    set_limits(arrays, 4 * GIB, wires=True, to=bounds)
    assert bounds.wired == wired


def test_the_limits_of_a_worker_are_those_of_its_plan(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int, bool]] = []
    monkeypatch.setattr(
        budgets, "set_limits", lambda arrays, weights, wires: given.append((arrays, weights, wires))
    )
    own = backend.budget
    own.set(2 * GIB)
    own.set(0)
    whole = 2 * GIB - own.plan.process_bytes + own.options.prompt_cache_bytes
    assert given == [(whole, own.weights_bytes, False), (0, own.weights_bytes, False)]


# -- a quantised cache, and a draft model ---------------------------------------------------------


def test_tokens_before_quantisation_begins_are_counted_whole(text_model: Path) -> None:
    """What is promised is what a row takes, and the largest that is named really fits."""
    own = load_text(text_model, kv_bits=4, kv_start_tokens=2000)
    narrow_down(own)
    prompt = own.prepare(asked(20))
    length = len(prompt.tokens) + prompt.max_tokens
    assert length == 1024 and own.budget.row_bytes(length) <= own.budget.kv_bytes
    with pytest.raises(ContextOverflow, match=f"up to {1024 - len(prompt.tokens):,}"):
        own.prepare(asked(20, max_tokens=3000))


def test_a_draft_model_takes_of_the_memory_for_rows(text_model: Path, tmp_path: Path) -> None:
    draft = str(text_model)
    alone, beside = load_text(text_model), load_text(text_model, draft_path=draft)
    for one in (alone, beside):
        one.budget.set(GIB)
    taken = beside.budget.plan.draft_bytes
    assert taken > 4096 * A_TOKEN and alone.budget.plan.draft_bytes == 0
    assert beside.budget.plan.needed_bytes == alone.budget.plan.needed_bytes + taken
    alone.budget.hold_draft(draft)
    assert alone.budget.draft_bytes == taken
    held = alone.budget.kv_bytes
    alone.budget.hold_draft("")
    assert alone.budget.kv_bytes - held == taken


def test_a_draft_model_without_room_is_refused_with_its_numbers(narrow: Any) -> None:
    room = narrow.budget.kv_bytes
    (want,) = run(narrow, [asked(5, max_tokens=8)])
    draft = narrow.spec.path
    refused, going_on = run(
        narrow, [asked(5, max_tokens=8, draft_path=draft), asked(5, max_tokens=8)]
    )
    assert isinstance(refused.error, BadRequest) and refused.error.param == "draft_model"
    assert "takes 0.0" in refused.error.message and "are left for one" in refused.error.message
    assert going_on.text == want.text
    assert (narrow.budget.kv_bytes, narrow.budget.draft_bytes) == (room, 0)
