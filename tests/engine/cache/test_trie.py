"""The tree against the plain list of what was added to it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlxgui.engine.cache.trie import Trie, packed

WORDS = st.lists(st.integers(0, 2), min_size=1, max_size=9)


def shared(some: list[int], other: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(some, other, strict=False)) if a != b),
        min(len(some), len(other)),
    )


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), WORDS), max_size=14), WORDS)
def test_it_knows_what_was_added_and_not_removed(
    moves: list[tuple[bool, list[int]]], sought: list[int]
) -> None:
    trie = Trie()
    known: dict[tuple[int, ...], Any] = {}
    for adds, words in moves:
        if adds:
            node = trie.add(packed(words))
            assert list(node.tokens()) == words
            node.entry = known[tuple(words)] = object()
        elif tuple(words) in known:
            trie.remove(trie.add(packed(words)))
            del known[tuple(words)]
    check(trie, [list(words) for words in known], known, sought)


def check(trie: Trie, known: list[list[int]], entries: dict[Any, Any], sought: list[int]) -> None:
    walk = trie.walk(packed(sought))
    most = max((shared(words, sought) for words in known), default=0)
    assert walk.matched == most
    near = {tuple(words) for words in known if shared(words, sought) == most} if most else set()
    below = {tuple(node.tokens()) for node in walk.under.below() if node.entry} if most else set()
    assert below == {words for words in near if len(words) >= most}
    passed = {tuple(node.tokens()) for node in walk.passed if node.entry}
    assert passed == {tuple(words) for words in known if sought[: len(words)] == words}
    if most and walk.other is not None:
        assert any(words[most] == walk.other for words in near if len(words) > most)
    assert {tuple(n.tokens()): n.entry for n in trie.root.below() if n.entry} == entries
    assert trie.size == sum(len(node.edge) for node in trie.root.below())
