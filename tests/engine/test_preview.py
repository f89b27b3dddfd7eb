"""Whether a model fits, as a table: what is loaded is (name, GB, last used, in flight, pinned)."""

from pathlib import Path

import pytest

from mlxgui.engine.memory import GIB
from mlxgui.engine.options import allowances, differ, with_options
from mlxgui.engine.plan import plan_of
from mlxgui.engine.policy import Bounds, Slot
from mlxgui.engine.preview import Preview, Resources, preview
from mlxgui.engine.spec import LoadOptions, ModelSpec


def slot(name: str, gb: float, used: float, in_flight: int = 0, pinned: bool = False) -> Slot:
    return Slot(f"/{name}", int(gb * GIB), used, in_flight, pinned)


def look(gb: float, others: list[Slot], usable: float = 10, free: float = 99) -> Preview:
    spec = ModelSpec(name="new", path="new", kind="fake", memory_bytes=int(gb * GIB))
    bounds = Bounds(3, int(usable * GIB))
    machine = Resources(bounds=bounds, available_bytes=int(free * GIB))
    return preview(spec, {slot.key[1:]: slot for slot in others}, machine)


CASES: list[tuple[str, Preview, str, list[str], str]] = [
    ("alone", look(4, []), "yes", [], "takes 4.0 GB"),
    ("beside another", look(4, [slot("a", 4, 1)]), "yes", [], "takes 4.0 GB"),
    ("one leaves", look(4, [slot("a", 4, 1), slot("b", 4, 2)]), "yes", ["a"], "“a” is unloaded"),
    (
        "a fourth comes: the oldest leaves",
        look(1, [slot("a", 1, 3), slot("b", 1, 1), slot("c", 1, 2)]),
        "yes",
        ["b"],
        "“b” is unloaded",
    ),
    (
        "two leave",
        look(9, [slot("a", 4, 2), slot("b", 4, 1)]),
        "yes",
        ["b", "a"],
        "“b” and “a” are unloaded",
    ),
    ("one answers", look(9, [slot("a", 4, 1, 1)]), "yes", [], "have finished"),
    ("a pinned one stays", look(9, [slot("a", 4, 1, 0, True)]), "no", [], "have 6.0 GB"),
    ("too large", look(11, []), "no", [], "requires 11.0 GB but you have 10.0 GB"),
    ("small sizes", look(0.3, [], usable=0.2), "no", [], "requires 307 MB but you have 205 MB"),
    ("nearly", look(8.02, [], usable=8), "no", [], "requires 8.02 GB but you have 8.00 GB"),
    ("other programs", look(4, [], free=3), "warning", [], "leave 3.0 GB free"),
    ("what leaves makes free", look(8, [slot("a", 6, 1)], free=3), "yes", ["a"], "unloaded"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "seen", "fits", "evict", "words"), CASES, ids=[case[0] for case in CASES]
)
def test_a_preview_says_what_loading_would_mean(
    title: str, seen: Preview, fits: str, evict: list[str], words: str
) -> None:
    assert (seen.fits, seen.evict) == (fits, evict)
    assert words in seen.message
    if title not in ("small sizes", "nearly"):
        assert seen.usable_bytes == 10 * GIB


@pytest.mark.model
def test_a_model_that_fits_only_with_a_shorter_context_is_a_warning(text_model: Path) -> None:
    spec = ModelSpec(name="tiny", path=str(text_model), context_tokens=4096)
    whole = plan_of(spec)
    half = plan_of(spec, context_tokens=2048).needed_bytes

    def seen(usable_bytes: int) -> Preview:
        return preview(
            spec, {}, Resources(bounds=Bounds(3, usable_bytes), available_bytes=99 * GIB)
        )

    assert seen(whole.needed_bytes).fits == "yes"
    shorter = seen(half)
    assert (shorter.fits, shorter.reason) == ("warning", "context")
    assert 2048 <= shorter.largest_context_tokens < 2304
    assert shorter.plan.needed_bytes <= half
    assert f"up to {shorter.largest_context_tokens:,} tokens" in shorter.message
    assert seen(whole.process_bytes).fits == "no"


def test_what_jobs_reserve_is_not_there_for_models() -> None:
    spec = ModelSpec(name="new", path="new", kind="fake", memory_bytes=6 * GIB)
    bounds = Bounds(3, 10 * GIB, 5 * GIB)
    seen = preview(spec, {}, Resources(bounds=bounds, available_bytes=99 * GIB))
    assert (seen.fits, seen.usable_bytes, seen.reserved_bytes) == ("no", 5 * GIB, 5 * GIB)


def test_what_is_left_of_the_machine_is_shared_evenly() -> None:
    assert allowances({"a": 2, "b": 4}, 10) == {"a": 4, "b": 6}
    assert allowances({"a": 6, "b": 4}, 8) == {"a": 6, "b": 4}
    assert allowances({}, 8) == {}


def test_a_models_own_options_go_first_and_trust_is_given_by_either() -> None:
    own = ModelSpec(name="m", path="m", options=LoadOptions(kv_bits=4))
    pool = LoadOptions(kv_bits=8, kv_group_size=32, trust_remote_code=True)
    got = with_options(own, pool).options
    assert (got.kv_bits, got.kv_group_size, got.trust_remote_code) == (4, 32, True)


def test_what_was_chosen_for_a_model_holds_though_it_is_the_default() -> None:
    pool = LoadOptions(kv_group_size=32, kv_start_tokens=77)
    chosen = ("kv_group_size", "kv_start_tokens")
    own = LoadOptions(kv_group_size=64, kv_start_tokens=0)
    got = with_options(ModelSpec(name="m", path="m", options=own, chosen=chosen), pool).options
    assert (got.kv_group_size, got.kv_start_tokens) == (64, 0)
    left_open = with_options(ModelSpec(name="m", path="m"), pool).options
    assert (left_open.kv_group_size, left_open.kv_start_tokens) == (32, 77)


@pytest.mark.parametrize(
    ("own", "all_models", "if_possible"),
    [(0, 8, True), (4, 8, False), (4, 0, False), (0, 0, False)],
)
def test_bits_for_all_models_are_kept_to_where_that_is_possible(
    own: int, all_models: int, if_possible: bool
) -> None:
    spec = ModelSpec(name="m", path="m", options=LoadOptions(kv_bits=own))
    assert with_options(spec, LoadOptions(kv_bits=all_models)).options.kv_if_possible is if_possible


def test_only_what_a_running_worker_cannot_take_over_asks_for_a_reload() -> None:
    current = LoadOptions(memory_bytes=5, warm_prompts=["old"])
    assert not differ(LoadOptions(warm_prompts=["new"]), current)
    assert differ(LoadOptions(kv_bits=4), current)
