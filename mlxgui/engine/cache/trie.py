"""Which token sequences are known: a radix tree whose edges are runs of tokens.

mlx-lm's PromptTrie has one dict per token (224 bytes a token) and copies the whole tail at every
step of a search (170 ms for a tail of 10,000 tokens); here a token takes 4 bytes and a search
compares whole runs.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any


def packed(tokens: Sequence[int]) -> "array[int]":
    return array("i", tokens)


class Node:
    """The end of a run. `entry` is what is known of the sequence that ends here."""

    __slots__ = ("children", "depth", "edge", "entry", "parent")

    def __init__(self, edge: "array[int]", parent: "Node | None") -> None:
        self.edge = edge
        self.parent = parent
        self.depth: int = len(edge) + (parent.depth if parent else 0)
        self.children: dict[int, Node] = {}
        self.entry: Any = None

    def up(self) -> "Iterator[Node]":
        """This node and those above it, without the root."""
        node = self
        while node.parent is not None:
            yield node
            node = node.parent

    def below(self) -> "Iterator[Node]":
        """This node and all under it."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def is_under(self, root: "Node") -> bool:
        node = self
        while node.parent is not None:
            node = node.parent
        return node is root

    def tokens(self) -> "array[int]":
        out = array("i")
        for edge in reversed([node.edge for node in self.up()]):
            out.extend(edge)
        return out


class Walk:
    """How far a sequence follows what is known.

    Attributes:
        matched: that many tokens are known.
        passed: the nodes wholly passed, top down.
        under: every known sequence that shares `matched` tokens lies at or below this node.
        other: the known token where the sequence parts from it; None where the known one ends.
    """

    def __init__(self) -> None:
        self.matched = 0
        self.passed: list[Node] = []
        self.under: Node
        self.other: int | None = None


class Trie:
    def __init__(self) -> None:
        self.root = Node(array("i"), None)
        self.size = 0
        """Tokens on all edges."""

    def walk(self, tokens: "array[int]") -> Walk:
        walk, node = Walk(), self.root
        while True:
            child = node.children.get(tokens[walk.matched]) if walk.matched < len(tokens) else None
            if child is None:
                walk.under = node
                if node.children and walk.matched < len(tokens):
                    walk.other = next(reversed(node.children))
                return walk
            same = shared(child.edge, tokens, walk.matched)
            walk.matched += same
            if same < len(child.edge):
                walk.under = child
                if walk.matched < len(tokens):
                    walk.other = child.edge[same]
                return walk
            walk.passed.append(child)
            node = child

    def add(self, tokens: "array[int]") -> Node:
        """The node where these tokens end; made if need be."""
        walk = self.walk(tokens)
        parent = walk.passed[-1] if walk.passed else self.root
        if walk.matched > parent.depth:  # ends within an edge: split it
            parent = self._split(walk.under, walk.matched - parent.depth)
        if walk.matched == len(tokens):
            return parent
        leaf = Node(tokens[walk.matched :], parent)
        parent.children[leaf.edge[0]] = leaf
        self.size += len(leaf.edge)
        return leaf

    def _split(self, node: Node, at: int) -> Node:
        assert node.parent is not None
        middle = Node(node.edge[:at], node.parent)
        node.parent.children[middle.edge[0]] = middle
        node.edge, node.parent = node.edge[at:], middle
        middle.children[node.edge[0]] = node
        return middle

    def remove(self, node: Node) -> None:
        """Forget the entry here, and the runs that lead to nothing else."""
        node.entry = None
        while node.entry is None and not node.children and node.parent is not None:
            del node.parent.children[node.edge[0]]
            self.size -= len(node.edge)
            node = node.parent
        if node.entry is None and len(node.children) == 1 and node.parent is not None:
            (child,) = node.children.values()
            child.edge, child.parent = node.edge + child.edge, node.parent
            node.parent.children[child.edge[0]] = child


def shared(some: Sequence[Any], other: Sequence[Any], start: int = 0) -> int:
    """How much of `some`, from its beginning, stands in `other` from `start` on."""
    most = min(len(some), len(other) - start)
    if some[:most] == other[start : start + most]:
        return most
    low, high = 0, most  # some[:low] is the same, some[:high] is not
    while high - low > 1:
        middle = (low + high) // 2
        if some[low:middle] == other[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low
