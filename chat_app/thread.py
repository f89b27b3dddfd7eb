"""The tree of messages, as plain data: the path to a leaf, siblings, the end of a branch."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Node(Protocol):
    pk: int
    parent_id: int | None
    role: str


@dataclass(frozen=True, slots=True)
class Entry[N]:
    """A message of the path, and its neighbours among the alternatives in its place."""

    message: N
    position: int
    count: int
    previous_id: int | None
    next_id: int | None


def path_to[N: Node](leaf_id: int | None, nodes: Iterable[N]) -> list[Entry[N]]:
    """From the first message down to `leaf_id`. `nodes` are in the order they were written."""
    by_id = {node.pk: node for node in nodes}
    children = _children(by_id.values())
    path: list[Entry[N]] = []
    node = by_id.get(leaf_id) if leaf_id is not None else None
    while node is not None:
        path.append(_entry(node, children[node.parent_id]))
        node = by_id.get(node.parent_id) if node.parent_id is not None else None
    return path[::-1]


def tip_below[N: Node](node: N, nodes: Iterable[N]) -> N:
    """The end of the branch through `node`: the newest child, again and again."""
    children = _children(nodes)
    while below := children.get(node.pk):
        node = below[-1]
    return node


def _children[N: Node](nodes: Iterable[N]) -> dict[int | None, list[N]]:
    children: dict[int | None, list[N]] = defaultdict(list)
    for node in nodes:
        children[node.parent_id].append(node)
    return children


def _entry[N: Node](node: N, family: list[N]) -> Entry[N]:
    alike = [sibling.pk for sibling in family if sibling.role == node.role]
    place = alike.index(node.pk)
    return Entry(
        message=node,
        position=place + 1,
        count=len(alike),
        previous_id=alike[place - 1] if place > 0 else None,
        next_id=alike[place + 1] if place + 1 < len(alike) else None,
    )
