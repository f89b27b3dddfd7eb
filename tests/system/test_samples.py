"""Where the memory goes: parts add up to the machine, history is bounded, columns fit together."""

import os
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from mlxgui.engine.jobs.folder import JobFolder
from mlxgui.engine.memory import MIB
from mlxgui.engine.place import Place, Resident
from mlxgui.engine.pool import Limits
from mlxgui.system import processors
from mlxgui.system.loaded import loaded
from mlxgui.system.samples import (
    History,
    Part,
    Sample,
    Use,
    job_pids,
    model_parts,
    reserved_bytes,
    take,
    tree_bytes,
)
from tests.conftest import fake
from tests.jobs.test_children import until

IOREG = b"""
    "PerformanceStatistics" = {"In use system memory"=7340032,"Device Utilization %"=37,"Tiler"=1}
"""


async def resident(name: str, pid: int) -> Resident:
    """As the pool tells of a model that is being loaded, with the process that holds it."""
    return replace(Place(fake(name), Limits()).resident(Limits(), 0), pid=pid, state="ready")


def sample(at: float, **sizes: int) -> Sample:
    return Sample(
        at, [Part(name, size, f"model-{name}") for name, size in sizes.items()], 1.0, None
    )


async def test_the_parts_of_a_sample_add_up_to_the_machine() -> None:
    here = await resident("echo", os.getpid())
    taken = take([here], {here.key: Use(active_bytes=3 * MIB, loaded_bytes=MIB)})
    assert sum(part.size_bytes for part in taken.parts) == psutil.virtual_memory().total
    assert [part.tone for part in taken.parts] == [
        "model-0", "model-0 running", "server", "rest", "free",
    ]  # fmt: skip
    assert taken.parts[0].size_bytes > 10 * MIB
    assert loaded([here], taken)[0].measured_bytes == sum(p.size_bytes for p in taken.parts[:2])


@pytest.mark.parametrize(
    ("resident_mib", "active", "at_load", "cache", "expected"),
    [
        (500, 200, 200, 0, [500]),
        (500, 260, 200, 20, [440, 40, 20]),
        (500, 0, 0, 0, [500]),  # a backend that does not say
        (100, 400, 300, 0, [400, 100]),  # graphics memory beside what counts as resident
        (50, 10, 5, 90, [0, 50]),  # numbers of different moments never make more than the whole
    ],
)
def test_a_models_memory_is_weights_conversations_and_kept_prompts(
    resident_mib: int, active: int, at_load: int, cache: int, expected: list[int]
) -> None:
    use = Use(active * MIB, at_load * MIB, cache * MIB)
    parts = model_parts("m", 0, resident_mib * MIB, use)
    assert [part.size_bytes // MIB for part in parts] == expected


def test_the_history_forgets_what_is_older_than_an_hour() -> None:
    history = History()
    for at in range(0, 5000, 5):
        history.samples.append(sample(float(at), a=1))
    assert len(history.samples) == 720
    assert len(history.rows()) <= 13
    assert history.rows()[0].at == 4995.0


def test_columns_are_of_one_length_and_name_what_came_and_went() -> None:
    history = History()
    history.samples.extend([sample(1.0, a=1), sample(2.0, a=2, b=3), sample(3.0, b=4)])
    table = history.table()
    assert [part["name"] for part in table["parts"]] == ["a", "b"]
    assert table["sizes"] == [[1, 2, 0], [0, 3, 4]]
    assert history.table(after=2.0)["sizes"] == [[0], [4]]
    assert history.table(after=3.0)["at"] == []


def test_the_graphics_of_a_mac_are_read_from_ioreg() -> None:
    assert processors.read_utilisation(IOREG) == 37.0
    assert processors.read_utilisation(b"nothing") is None


def test_jobs_at_work_count_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "ended").mkdir()
    folder = JobFolder(tmp_path / "one")
    pid = folder.start({"kind": "fake", "until": str(tmp_path / "never")}, {})
    try:
        assert job_pids(tmp_path) == [pid]
        until(lambda: tree_bytes(pid) > MIB)
    finally:
        folder.signal(9)  # type: ignore[arg-type]
        os.waitpid(pid, 0)
    assert job_pids(tmp_path) == []
    assert tree_bytes(pid) == 0


@pytest.mark.parametrize(("mib", "reserved"), [(0, 0), (1, 256), (256, 256), (300, 512)])
def test_what_jobs_take_is_kept_from_models_in_steps(mib: int, reserved: int) -> None:
    taken = Sample(0.0, [Part("m", 9 * MIB, "model-0"), Part("j", mib * MIB, "jobs")], 0.0, None)
    assert reserved_bytes(taken) == reserved * MIB
