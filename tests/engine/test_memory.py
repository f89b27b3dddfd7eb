import pytest

from mlxgui.engine import memory
from mlxgui.engine.memory import GIB, MIB


@pytest.mark.parametrize(
    ("total", "metal", "usable"),
    [
        (32 * GIB, None, 28 * GIB),
        (8 * GIB, None, 6 * GIB),
        (32 * GIB, 24 * GIB, 24 * GIB),
        (32 * GIB, 31 * GIB, 28 * GIB),
    ],
)
def test_the_system_keeps_its_share(total: int, metal: int | None, usable: int) -> None:
    assert memory.usable_bytes(total, metal) == usable


def test_metals_limit_is_apples_share_unless_a_person_set_it() -> None:
    assert memory.metal_limit_bytes(32 * GIB, 0) == 24 * GIB
    assert memory.metal_limit_bytes(32 * GIB, 28_000) == 28_000 * MIB


@pytest.mark.parametrize("apple", [True, False])
def test_this_machine_is_described_on_both_sides_of_the_seam(
    monkeypatch: pytest.MonkeyPatch, apple: bool
) -> None:
    monkeypatch.setattr(memory, "is_apple_silicon", lambda: apple)
    machine = memory.machine_memory()
    assert machine.unified is apple
    assert 0 < machine.usable_bytes < machine.total_bytes
    assert machine.available_bytes <= machine.total_bytes
    assert machine.device_name
