from dataclasses import dataclass

from chat_app.thread import path_to, tip_below


@dataclass
class Node:
    pk: int
    parent_id: int | None
    role: str = "user"


# 1 ─ 2 ─ 3 ─ 5      4 is another reply to 1, 6 another wording of 1
TREE = [
    Node(1, None),
    Node(2, 1, "assistant"),
    Node(3, 2),
    Node(4, 1, "assistant"),
    Node(5, 3, "assistant"),
    Node(6, None),
]


def test_the_path_leads_from_the_first_message_to_the_leaf() -> None:
    assert [entry.message.pk for entry in path_to(5, TREE)] == [1, 2, 3, 5]
    assert [entry.message.pk for entry in path_to(4, TREE)] == [1, 4]


def test_each_message_knows_its_place_among_its_siblings() -> None:
    first, reply, *_ = path_to(5, TREE)
    assert (first.position, first.count, first.previous_id, first.next_id) == (1, 2, None, 6)
    assert (reply.position, reply.count, reply.previous_id, reply.next_id) == (1, 2, None, 4)


def test_no_leaf_is_an_empty_path() -> None:
    assert path_to(None, TREE) == []
    assert path_to(99, TREE) == []


def test_the_tip_is_the_newest_end_of_a_branch() -> None:
    assert tip_below(TREE[0], TREE).pk == 4
    assert tip_below(TREE[1], TREE).pk == 5
    assert tip_below(TREE[5], TREE).pk == 6
