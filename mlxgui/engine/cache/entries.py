"""What is known of one token sequence, and which of several entries serves a prompt best."""

from collections.abc import Iterable
from typing import Any, Literal

from mlxgui.engine.cache.reasons import Reason
from mlxgui.engine.cache.trie import Node, Walk

Kind = Literal["system", "user", "assistant"]
LEAVES_FIRST: tuple[Kind, ...] = ("assistant", "user", "system")

NEAR = 64
"""Reading so many tokens again costs less than getting a better entry from disk."""


class Entry:
    """One sequence. Its state may be in memory, on disk, within that of a longer one, or lost."""

    __slots__ = ("cache", "file", "floor", "kind", "length", "lost", "nbytes", "node", "stored_at")

    def __init__(self, node: Node, kind: Kind, floor: int) -> None:
        self.node = node
        self.length = node.depth
        self.kind = kind
        self.floor = floor
        self.cache: list[Any] | None = None
        self.nbytes = 0
        self.file = ""
        self.lost: Reason | None = None
        self.stored_at = 0.0

    @property
    def is_alive(self) -> bool:
        return self.cache is not None or bool(self.file)

    def shorter(self) -> "list[Entry]":
        """Known beginnings of this sequence, the longest first."""
        above = [node.entry for node in self.node.up() if node is not self.node]
        return [entry for entry in above if entry is not None]

    def serves(self, reach: int) -> int:
        """How many tokens of a prompt it can save that shares `reach` tokens with it."""
        if self.length <= reach:
            return self.length
        return reach if self.floor <= reach else 0


def known_to(walk: Walk) -> list[Entry]:
    """Every entry that shares its beginning with the prompt."""
    if not walk.matched:
        return []
    above = [node.entry for node in walk.passed if node is not walk.under]
    below = [node.entry for node in walk.under.below()]
    return [entry for entry in (*above, *below) if entry is not None]


def best_of(entries: Iterable[Entry], reach: int) -> Entry | None:
    """The one that saves most; of those about as good, one in memory, then the shortest file."""
    useful = [entry for entry in entries if entry.is_alive and entry.serves(reach)]
    if not useful:
        return None
    most = max(entry.serves(reach) for entry in useful)
    near = [entry for entry in useful if entry.serves(reach) >= most - NEAR]
    ready = [entry for entry in near if entry.cache is not None]
    if ready:
        return max(ready, key=lambda entry: (entry.serves(reach), -entry.length))
    return min(near, key=lambda entry: (entry.length, -entry.serves(reach)))


def next_to_go(entries: Iterable[Entry]) -> Entry:
    """The least recently used of the class whose turn it is, by mlx-lm's rule: replies go first,
    unless fewer of them are left than of the prompts they belong to, and so upward.

    Args:
        entries: in memory, least recently used first.
    """
    queues: dict[str, list[Entry]] = {kind: [] for kind in LEAVES_FIRST}
    for entry in entries:
        queues[entry.kind].append(entry)
    for lower, upper in zip(LEAVES_FIRST, LEAVES_FIRST[1:], strict=False):
        if queues[lower] and len(queues[lower]) >= len(queues[upper]):
            return queues[lower][0]
    return next(queues[kind][0] for kind in reversed(LEAVES_FIRST) if queues[kind])


def cover_of(node: Node) -> Entry | None:
    """An entry in memory, at or below the node, that can be cut back to it."""
    for other in node.below():
        entry: Entry | None = other.entry
        if entry is not None and entry.cache is not None and entry.floor <= node.depth:
            return entry
    return None


def heir_of(entry: Entry) -> Entry | None:
    """When an entry must go: the longest beginning of it that is of a longer-lived class and that
    nothing else in memory covers. It may stay in its place."""
    if entry.floor:
        return None
    rank = LEAVES_FIRST.index(entry.kind)
    higher = [one for one in entry.shorter() if LEAVES_FIRST.index(one.kind) > rank]
    return higher[0] if higher and cover_of(higher[0].node) is None else None
