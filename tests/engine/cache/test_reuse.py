"""For each class of cache: whatever conversations do, reuse changes no logits."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlxgui.engine.cache.prompt_cache import PromptCache
from tests.engine.cache.models import CONFIGS, TRIMMABLE, Ask, assert_same, memory, model_of, run

pytestmark = pytest.mark.model

SYSTEMS = [[7, 1, 2, 3] * 5, [7, 1, 2, 4] * 9, [7, 5] * 2]
OPEN, TURN, THINK = [9, 10], [11, 12], [13, 14]
WORDS = st.lists(st.integers(1, 5), min_size=1, max_size=14)


class Talks:
    """Conversations that grow, branch and are edited, over one prompt cache."""

    def __init__(self, name: str, kept: PromptCache, *, thinks: bool) -> None:
        self.name = name
        self.kept = kept
        self.thinks = thinks
        self.talks: list[tuple[list[int], list[list[int]]]] = []

    def ask(self, system: list[int], turns: list[list[int]]) -> Ask:
        tokens = system + [token for turn in turns for token in turn] + OPEN
        layout = [(len(system), "system"), (len(tokens), "user")]
        if self.thinks:
            tokens = tokens + THINK
            layout.append((len(tokens), "assistant"))
        return Ask(tokens, layout)

    def round(self, moves: list[tuple[str, int, list[int]]]) -> list[Any]:
        """Several next turns side by side, each checked against a cold start."""
        next_talks = [self.next(*move) for move in moves]
        asks = [self.ask(*talk) for talk in next_talks]
        answers = run(model_of(self.name), asks, self.kept)
        for (system, turns), ask, answer in zip(next_talks, asks, answers, strict=True):
            assert_same(self.name, ask, answer)
            reply = answer.tokens[2:] if self.thinks else answer.tokens  # thoughts are dropped
            self.talks.append((system, [*turns, [*OPEN, *reply, *TURN]]))
        return answers

    def next(self, move: str, which: int, words: list[int]) -> tuple[list[int], list[list[int]]]:
        if move == "start" or not self.talks:
            return SYSTEMS[which % len(SYSTEMS)], [words]
        system, turns = self.talks[which % len(self.talks)]
        if move == "edit":
            return system, [*turns[: max(0, len(turns) - 3)], words]
        if move == "again":
            return system, turns[:-1]
        return system, [*turns, words]


MOVES = st.tuples(
    st.sampled_from(["start", "go on", "go on", "edit", "again"]), st.integers(0, 9), WORDS
)
ROUNDS = st.lists(st.lists(MOVES, min_size=1, max_size=3), min_size=2, max_size=5)


@pytest.mark.parametrize("name", CONFIGS)
def test_reuse_changes_no_logits(name: str) -> None:
    # Compiling its kernels is not the example's fault.
    assert_same(name, first := Ask([1, 2, 3], [(3, "user")]), run(model_of(name), [first], None)[0])

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(ROUNDS, st.booleans(), st.sampled_from([1 << 28, 150_000, 40_000]), st.booleans())
    def check(rounds: list[Any], thinks: bool, bound: int, restarts: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"bytes_in_memory": bound}
            if restarts:
                options |= {"folder": Path(folder), "bytes_on_disk": 1 << 24, "smallest_on_disk": 8}
            talks = Talks(name, memory(**options), thinks=thinks)
            for moves in rounds:
                talks.round(moves)
                assert talks.kept.shelf.nbytes <= bound
                if restarts:
                    assert talks.kept.close(10)
                    talks.kept = memory(**options)
            talks.kept.close(10)

    check()


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_next_turn_goes_on_where_the_last_one_was(name: str, thinks: bool) -> None:
    talks = Talks(name, memory(), thinks=thinks)
    words = [1, 2, 3, 4, 5] * 12  # beyond the sliding window
    first = talks.ask(SYSTEMS[0], [words])
    talks.round([("start", 0, words)])
    (answer,) = talks.round([("go on", 0, [2, 2])])
    # All of the first prompt, but at most its last token and its opened thought.
    assert answer.found.cached_tokens >= len(first.tokens) - 1 - (len(THINK) if thinks else 0)
    assert (answer.found.tier, answer.found.reason) == ("memory", "hit")


@pytest.mark.parametrize("name", CONFIGS)
def test_another_answer_to_the_same_prompt_reads_only_its_last_token(name: str) -> None:
    talks = Talks(name, memory(), thinks=False)
    talks.round([("start", 0, [1, 2, 3, 4, 5] * 12)])
    (answer,) = talks.round([("again", 0, [])])
    assert answer.found.cached_tokens == len(SYSTEMS[0]) + 60 + len(OPEN) - 1
    assert answer.found.reason == "hit"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shared_system_prompt_is_read_once(name: str) -> None:
    talks = Talks(name, memory(), thinks=False)
    talks.round([("start", 0, [1] * 40)])
    (answer,) = talks.round([("start", 0, [2] * 40)])
    assert answer.found.cached_tokens == len(SYSTEMS[0])
    assert answer.found.reason == "partial"
    assert answer.found.divergence.index == len(SYSTEMS[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_after_an_edit_the_last_kept_point_is_used_and_said(name: str) -> None:
    talks = Talks(name, memory(), thinks=False)
    talks.round([("start", 0, [1, 2, 3, 4, 5] * 12)])
    talks.round([("go on", 0, [3, 4, 5, 1, 1, 2] * 9)])
    system, turns = talks.talks[-1]
    edited = talks.ask(system, [*turns[:2], [3, 4, 5, 1, 1, 2] * 5 + [5] * 20])
    answer = run(model_of(name), [edited], talks.kept)[0]
    assert_same(name, edited, answer)
    if name in TRIMMABLE:
        assert answer.found.cached_tokens == answer.found.divergence.index
        assert answer.found.reason == "partial"
    else:
        assert answer.found.cached_tokens >= len(system) + 60 + len(OPEN) - 1
        assert answer.found.reason == "not_trimmable"
