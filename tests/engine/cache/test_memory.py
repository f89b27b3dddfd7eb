"""What is kept in memory, for how long, and the reason of every miss."""

from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models.cache import ChunkedKVCache

from mlxgui.engine.cache import arrays
from mlxgui.engine.cache.reasons import SENTENCES, Reason
from mlxgui.engine.cache.segments import Layout
from tests.engine.cache.models import CONFIGS, Ask, behind, memory, model_of, run
from tests.engine.cache.states import (
    BYTES_PER_TOKEN,
    KINDS,
    full,
    leaves,
    quantised,
    recurrent,
    rotating,
    rows,
)

pytestmark = pytest.mark.model

SYSTEM = [1, 2, 3, 4] * 12
TALK = [*SYSTEM, *range(100, 160)]


def layout(tokens: list[int], system: int = len(SYSTEM)) -> Layout:
    return [(system, "system"), (len(tokens), "user")]


def ask(kept: Any, tokens: list[int]) -> Any:
    return kept.fetch(tokens, layout(tokens))


# -- the copy that a caller gets ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_takes_no_memory_and_changes_nothing_in_the_cache(kind: str) -> None:
    state = arrays.compact(KINDS[kind](TALK)) or []
    mx.eval(arrays.arrays_of(state))
    want = leaves(state)
    before = mx.get_active_memory()
    private = arrays.view(state, len(TALK), len(TALK)) or []
    assert mx.get_active_memory() == before
    for array in arrays.arrays_of(private):
        array[...] = 0
    mx.eval(arrays.arrays_of(private))
    assert leaves(state) == want


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_leaves_the_cache_it_is_given_as_it_was(name: str) -> None:
    """So the deep copy in `view` costs a few objects only, and one state serves many at once."""
    kept = memory()
    first = Ask(TALK, layout(TALK))
    run(model_of(name), [first], kept)
    (entry,) = [e for e in kept.shelf.memory if e.length in (len(TALK) - 1, len(TALK) + 4)][-1:]
    want = leaves(entry.cache or [])
    longer = Ask([*TALK[:-1], 5, 5, 5], layout(TALK))
    run(model_of(name), [longer, longer, longer], kept)
    assert leaves(entry.cache or want) == want


def test_a_batch_is_not_kept_alive_by_one_row_of_it() -> None:
    batch = mx.zeros((8, 1, 4000, 64), dtype=mx.bfloat16)
    mx.eval(batch)
    state = full(TALK)
    state[0].keys, state[0].values = batch[3:4, :, : len(TALK)], batch[4:5, :, : len(TALK)]
    own = arrays.compact(state) or []
    mx.eval(arrays.arrays_of(own))
    del state
    before = mx.get_active_memory()
    del batch
    assert before - mx.get_active_memory() >= 8 * 4000 * 64 * 2


# -- lookups --------------------------------------------------------------------------------------


def test_an_exact_hit_leaves_a_token_to_run() -> None:
    kept = memory()
    kept.store(TALK, full(TALK), "user")
    found = ask(kept, TALK)
    assert found.cached_tokens == len(TALK) - 1 == found.cache[0].offset
    state = memory()
    state.store(TALK, recurrent(TALK), "user")
    assert ask(state, TALK).cached_tokens == 0
    assert ask(state, [*TALK, 5]).cached_tokens == len(TALK)


def test_a_prompt_of_one_token_is_a_miss() -> None:
    kept = memory()
    kept.store([1], full([1]), "user")
    assert kept.fetch([1], [(1, "user")]).cached_tokens == 0


def test_a_wrapped_window_and_a_moved_chunk_are_never_cut_back() -> None:
    assert arrays.floor_of(rotating(TALK[:30]), 30) == 0
    assert arrays.floor_of(rotating(TALK), len(TALK)) == len(TALK)
    chunked = ChunkedKVCache(64)
    chunked.update_and_fetch(rows(TALK[:50]), rows(TALK[:50]))
    assert arrays.floor_of([chunked], 50) == 0
    chunked.update_and_fetch(rows(TALK[:50]), rows(TALK[:50]))
    chunked.maybe_trim_front()
    assert arrays.floor_of([chunked], 100) == 100
    kept = memory()
    kept.store(TALK, [chunked], "user")
    assert ask(kept, TALK[:70]).cached_tokens == 0


def test_a_quantised_state_is_cut_back_but_not_batched() -> None:
    kept = memory()
    kept.store(TALK, quantised(TALK), "user")
    found = ask(kept, [*TALK[:60], 7, 7])
    assert found.cached_tokens == 60 == found.cache[0].offset
    assert not arrays.is_batchable(found.cache) and arrays.is_batchable(full(TALK))


def test_a_state_of_other_length_than_its_tokens_is_refused() -> None:
    kept = memory()
    kept.store(TALK, full(TALK[:-3]), "user")
    kept.store([], full(TALK), "user")
    assert not kept.shelf.memory and kept.stats()["memory"]["refused"] == 2


def test_a_window_keeps_no_more_than_itself() -> None:
    state = rotating(TALK)
    assert state[0].keys.shape[2] > 32
    own = arrays.compact(state) or []
    assert own[0].keys.shape[2] == 32
    assert own[0].keys[0, 0, :, 0].tolist() == [float(token) for token in TALK[-32:]]


# -- eviction -------------------------------------------------------------------------------------


def test_memory_stays_within_its_bound_and_the_used_stays() -> None:
    bound = 400 * BYTES_PER_TOKEN
    kept = memory(bytes_in_memory=bound)
    first = [900, *range(100)]
    kept.store(first, full(first), "user")
    for number in range(30):
        tokens = [number, *range(100)]
        kept.store(tokens, full(tokens), "user")
        assert kept.shelf.nbytes <= bound
        assert kept.fetch([*first, 1], [(102, "user")]).cached_tokens == len(first)
    assert kept.stats()["memory"]["evicted"] == 28
    assert kept.shelf.nbytes == sum(entry.nbytes for entry in kept.shelf.memory)


def test_a_reply_goes_first_and_leaves_its_prompt_and_that_its_system_prompt() -> None:
    kept = memory(bytes_in_memory=300 * BYTES_PER_TOKEN)
    reply = [*TALK, *range(200, 250)]
    kept.store(SYSTEM, full(SYSTEM), "system")
    kept.store(TALK, full(TALK), "user")
    kept.store(reply, full(reply), "assistant")
    assert [entry.kind for entry in kept.shelf.memory] == ["assistant"]  # it serves all three

    def fill(front: int, size: int, kind: Any) -> None:
        other = [front, *range(size)]
        kept.store(other, full(other), kind)

    fill(999, 150, "assistant")
    assert ask(kept, [*reply, 1]).cached_tokens == len(TALK)
    fill(998, 230, "user")
    assert ask(kept, [*reply, 1]).cached_tokens == len(SYSTEM)
    assert ask(kept, [*reply, 1]).reason == "evicted"


def test_what_is_larger_than_all_is_not_kept_and_drives_nothing_out() -> None:
    kept = memory(bytes_in_memory=70 * BYTES_PER_TOKEN)
    kept.store(SYSTEM, full(SYSTEM), "system")
    kept.store(TALK, full(TALK), "user")
    found = ask(kept, [*TALK, 1])
    assert (found.cached_tokens, found.reason) == (len(SYSTEM), "too_large")


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["full", "rotating", "recurrent"]),
            st.lists(st.integers(0, 2), min_size=4, max_size=60),
            st.sampled_from(["system", "user", "assistant"]),
        ),
        max_size=25,
    )
)
def test_books_balance_whatever_is_stored(moves: list[Any]) -> None:
    bound = 120 * BYTES_PER_TOKEN
    kept = memory(bytes_in_memory=bound)
    for kind, tokens, role in moves:
        kept.store(tokens, KINDS[kind](tokens), role)
        found = kept.fetch([*tokens, 1], [(len(tokens) + 1, "user")])
        assert found.cached_tokens <= len(tokens)
        shelf = kept.shelf
        assert shelf.nbytes == sum(arrays.bytes_of(e.cache) for e in shelf.memory if e.cache)
        assert shelf.nbytes <= bound
        known = {node.entry for node in shelf.trie.root.below() if node.entry}
        assert known == set(shelf.memory) | set(shelf.ghosts)
        assert not set(shelf.memory) & set(shelf.ghosts)


def test_the_record_of_what_was_dropped_is_bounded(monkeypatch: Any) -> None:
    from mlxgui.engine.cache import shelf

    monkeypatch.setattr(shelf, "RECORD_TOKENS", 2000)
    kept = memory(bytes_in_memory=110 * BYTES_PER_TOKEN)
    for number in range(60):
        tokens = [number, *range(100)]
        kept.store(tokens, full(tokens), "user")
    assert kept.shelf.trie.size <= 2000
    assert kept.fetch([58, *range(100), 1], [(102, "user")]).reason == "evicted"
    assert kept.fetch([1, *range(100), 1], [(102, "user")]).reason == "first_use"


@pytest.mark.parametrize("bound", [0, 110 * BYTES_PER_TOKEN])
def test_so_is_that_of_many_short_prompts_even_where_none_is_kept(
    monkeypatch: Any, bound: int
) -> None:
    from mlxgui.engine.cache import shelf

    monkeypatch.setattr(shelf, "RECORDS", 20)
    kept = memory(bytes_in_memory=bound)
    for number in range(60):
        tokens = [*range(100), number]
        kept.fetch([*tokens, 1], [(102, "user")])
        kept.reached(tokens, "user")
        kept.store([*tokens, 7], full([*tokens, 7]), "assistant")
    assert len(kept.shelf.ghosts) <= 20
    assert sum(node.entry is not None for node in kept.shelf.trie.root.below()) <= 22


# -- reasons --------------------------------------------------------------------------------------

HEADER = [71, 72, 73]
VOLATILE = [9, *HEADER, *range(300, 360)]


def reason_of(known: list[int], asked: list[int], system: int, state: Any = full) -> Any:
    kept = memory()
    if kept.reached(known[:system], "system"):
        kept.store(known[:system], state(known[:system]), "system")
    kept.reached(known, "user")
    kept.store(known, state(known), "user")
    whole = [*known, 50, 51, 52]
    kept.store(whole, state(whole), "assistant")
    return kept.fetch(asked, layout(asked, system))


def test_reasons_name_what_happened() -> None:
    other_header = [9, 81, 82, *VOLATILE[4:]]
    edited = [*TALK[:55], 7, *TALK[56:], 50, 51, 52, 8, 8, 8]
    with_tools = [9, *range(200, 300), *VOLATILE[4:]]
    cases: list[tuple[str, Any, int]] = [
        ("first_use", reason_of(TALK, [8, 9, *TALK], len(SYSTEM)), 0),
        ("hit", reason_of(TALK, [*TALK, 50, 51, 52, 8], len(SYSTEM)), len(TALK) + 3),
        ("hit", reason_of(TALK, [*TALK, 66, 67], len(SYSTEM)), len(TALK)),
        ("partial", reason_of(TALK, [*SYSTEM, *[9] * 50], len(SYSTEM)), len(SYSTEM)),
        ("template_changed", reason_of(TALK, edited, len(SYSTEM)), 55),
        ("volatile_header", reason_of(VOLATILE, other_header, len(VOLATILE) - 5), 1),
        ("template_changed", reason_of(VOLATILE, with_tools, len(with_tools) - 5), 1),
        ("not_trimmable", reason_of(TALK, [*TALK[:90], 7], len(SYSTEM), recurrent), len(SYSTEM)),
        ("hit", reason_of(TALK, [*TALK, 66, 67], len(SYSTEM), recurrent), len(TALK)),
    ]
    for number, (reason, found, used) in enumerate(cases):
        assert (found.reason, found.cached_tokens) == (reason, used), number


def test_the_divergence_names_both_tokens() -> None:
    found = reason_of(TALK, [*TALK[:90], 7, 7], len(SYSTEM))
    assert (found.divergence.index, found.divergence.token) == (90, 7)
    assert found.divergence.known_token == TALK[90]


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())


def test_what_waits_for_its_reply_is_not_called_dropped() -> None:
    kept = memory()
    kept.store([1, 2], full([1, 2]), "user")  # now it is known that the states can be cut back
    assert not kept.reached(TALK, "user")
    assert ask(kept, [*TALK, 1]).reason == "first_use"


def test_statistics_add_up() -> None:
    kept = memory()
    kept.store(TALK, full(TALK), "user")
    ask(kept, TALK)
    stats = kept.stats()
    assert stats["tokens"] == {"asked": len(TALK), "memory": len(TALK) - 1, "disk": 0}
    assert stats["memory"]["kinds"]["user"] == {"entries": 1, "bytes": kept.shelf.nbytes}
    assert stats["reasons"]["hit"] == 1 and stats["disk"] is None
    assert behind(Ask(TALK, layout(TALK)), 50) == ([TALK[50:]], ["user"])
