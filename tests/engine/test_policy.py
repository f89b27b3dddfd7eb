"""The eviction policy as a table: slots are (key, GB, last used, in flight, pinned)."""

import pytest

from mlxgui.engine.policy import Bounds, Decision, Refuse, Room, Slot, Wait, make_room


def slot(key: str, gb: int, used: float, in_flight: int = 0, pinned: bool = False) -> Slot:
    return Slot(key, gb, used, in_flight, pinned)


CASES: list[tuple[str, int, list[Slot], Bounds, Decision]] = [
    ("empty pool", 4, [], Bounds(3, 10), Room()),
    ("exactly fits", 10, [], Bounds(3, 10), Room()),
    ("too large for the machine", 11, [], Bounds(3, 10), Refuse(11, 10)),
    ("fits beside", 4, [slot("a", 4, 1)], Bounds(3, 10), Room()),
    ("memory: the oldest goes", 4, [slot("a", 4, 2), slot("b", 4, 1)], Bounds(3, 10), Room(("b",))),
    (
        "memory: as many as needed, no more",
        6,
        [slot("a", 2, 1), slot("b", 2, 2), slot("c", 2, 3), slot("d", 2, 4)],
        Bounds(9, 10),
        Room(("a", "b")),
    ),
    ("count: the oldest goes", 1, [slot("a", 1, 2), slot("b", 1, 1)], Bounds(2, 10), Room(("b",))),
    ("the busy one stays", 4, [slot("a", 4, 1, 1), slot("b", 4, 2)], Bounds(3, 10), Room(("b",))),
    ("all busy", 4, [slot("a", 4, 1, 1), slot("b", 4, 2, 1)], Bounds(3, 10), Wait()),
    (
        "the pinned one stays",
        4,
        [slot("a", 4, 1, 0, True), slot("b", 4, 2)],
        Bounds(3, 10),
        Room(("b",)),
    ),
    ("pinned take the memory", 4, [slot("a", 8, 1, 0, True)], Bounds(3, 10), Refuse(4, 2)),
    ("pinned take every place", 1, [slot("a", 1, 1, 0, True)], Bounds(1, 10), Refuse(1, 0)),
    ("no places at all", 1, [], Bounds(0, 10), Refuse(1, 10)),
    ("jobs reserve memory", 6, [], Bounds(3, 10, 5), Refuse(6, 5)),
    ("jobs reserve, one goes", 4, [slot("a", 2, 1)], Bounds(3, 10, 5), Room(("a",))),
]


@pytest.mark.parametrize(
    ("title", "needed", "slots", "bounds", "expected"),
    CASES,
    ids=lambda v: str(v) if isinstance(v, str) else "",
)
def test_the_policy_decides(
    title: str, needed: int, slots: list[Slot], bounds: Bounds, expected: Decision
) -> None:
    assert make_room(needed, slots, bounds) == expected
