"""Where the machine's memory goes, looked at every few seconds and kept for an hour.

A sample adds up to the machine: each model (weights and process, KV caches of what runs, kept
prompts), the server, its jobs, everything else on the machine, and what is free.
"""

import asyncio
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from msgspec import Struct

from mlxgui.engine.errors import EngineError
from mlxgui.engine.jobs.folder import JobFolder
from mlxgui.engine.memory import MIB, machine_memory
from mlxgui.engine.place import Resident
from mlxgui.runtime import Runtime, at_start
from mlxgui.system.processors import cpu_percent, gpu_percent

log = logging.getLogger("mlxgui.system")

EVERY_SECONDS = 5.0
KEPT_SECONDS = 3600.0
ASK_SECONDS = 1.0
"""For a worker's answer about itself; one in a long prefill is passed over."""
RESERVE_STEP_BYTES = 256 * MIB
MODEL_TONES = 6
"""Colours there are for models; the seventh has the first one's."""


class Part(Struct, frozen=True):
    """A share of the machine's memory. `tone` names its colour."""

    name: str
    size_bytes: int
    tone: str


class Sample(Struct, frozen=True):
    """`at` in seconds since 1970; the parts from the bottom of the picture to its top."""

    at: float
    parts: list[Part]
    cpu_percent: float
    gpu_percent: float | None
    """None where this machine does not tell."""


class History:
    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self.samples: deque[Sample] = deque(maxlen=max(1, int(kept_seconds / EVERY_SECONDS)))

    @property
    def latest(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def names(self) -> dict[str, str]:
        """Every part's name and tone, from the bottom up; what appeared later lies above it."""
        models: dict[str, str] = {}
        others: dict[str, str] = {}
        for sample in self.samples:
            for part in sample.parts:
                kind = models if part.tone.startswith("model") else others
                kind[part.name] = part.tone
        return {**models, **others}

    def table(self, after: float = 0.0) -> dict[str, Any]:
        """Columns for a plot: one list of bytes for each name, 0 where there was no such part."""
        names = self.names()
        shown = [sample for sample in self.samples if sample.at > after]
        sizes = [{part.name: part.size_bytes for part in sample.parts} for sample in shown]
        return {
            "every_seconds": EVERY_SECONDS,
            "parts": [{"name": name, "tone": tone} for name, tone in names.items()],
            "at": [round(sample.at, 1) for sample in shown],
            "sizes": [[of.get(name, 0) for of in sizes] for name in names],
            "cpu": [sample.cpu_percent for sample in shown],
            "gpu": [sample.gpu_percent for sample in shown],
        }

    def rows(self, most: int = 13) -> list[Sample]:
        """A few samples evenly over the time, the latest first: the picture in words."""
        everything = list(self.samples)
        step = max(1, -(-len(everything) // most))
        return everything[::-1][::step]


class Use(Struct, frozen=True):
    """What a worker says of its own memory, in bytes."""

    active_bytes: int = 0
    loaded_bytes: int = 0
    """Active right after loading: the weights."""
    prompt_cache_bytes: int = 0


async def uses(residents: list[Resident], runtime: Runtime) -> dict[str, Use]:
    """By key. A backend that cannot say, or is busy, is left out."""
    found: dict[str, Use] = {}
    for one in residents:
        if one.state != "ready":
            continue
        try:
            asking = runtime.pool.ask(one.key, "stats")
            told = await asyncio.wait_for(asking, ASK_SECONDS)
        except (EngineError, TimeoutError):
            continue
        if isinstance(told, dict):
            found[one.key] = Use(
                active_bytes=int(told.get("active_bytes", 0)),
                loaded_bytes=int(one.facts.get("active_bytes", 0)),
                prompt_cache_bytes=cache_bytes(told),
            )
    return found


def cache_bytes(told: dict[str, Any]) -> int:
    memory = (told.get("prompt_cache") or {}).get("memory") or {}
    return int(memory.get("bytes", 0))


def take(residents: list[Resident], told: dict[str, Use]) -> Sample:
    """Blocking, for some milliseconds."""
    machine = machine_memory()
    parts: list[Part] = []
    for place, one in enumerate(residents):
        if one.pid:
            use = told.get(one.key, Use())
            parts += model_parts(one.name, place % MODEL_TONES, resident_bytes(one.pid), use)
    parts.append(Part("This server", resident_bytes(), "server"))
    if jobs := sum(tree_bytes(pid) for pid in job_pids(settings.HOME.path / "jobs")):
        parts.append(Part("Downloads and training", jobs, "jobs"))
    ours = sum(part.size_bytes for part in parts)
    used = machine.total_bytes - machine.available_bytes
    rest = max(0, used - ours)
    parts.append(Part("Everything else", rest, "rest"))
    parts.append(Part("Free", max(0, machine.total_bytes - ours - rest), "free"))
    return Sample(time.time(), parts, cpu_percent(), gpu_percent())


def model_parts(name: str, place: int, resident: int, use: Use) -> list[Part]:
    """A model's memory in three. On a Mac the graphics memory may not count as resident."""
    whole = resident if resident >= use.active_bytes else resident + use.active_bytes
    kept = visible(min(whole, use.prompt_cache_bytes))
    running = max(0, use.active_bytes - use.loaded_bytes - kept) if use.loaded_bytes else 0
    running = visible(min(whole - kept, running))
    three = [
        Part(name, whole - kept - running, f"model-{place}"),
        Part(f"{name}: conversations", running, f"model-{place} running"),
        Part(f"{name}: kept prompts", kept, f"model-{place} kept"),
    ]
    return three[:1] + [part for part in three[1:] if part.size_bytes]


def reserved_bytes(taken: Sample) -> int:
    """What jobs take is not for models; in steps, so that the pool seldom plans anew."""
    jobs = sum(part.size_bytes for part in taken.parts if part.tone == "jobs")
    return -(-jobs // RESERVE_STEP_BYTES) * RESERVE_STEP_BYTES


def visible(size_bytes: int) -> int:
    """Nobody can see less than a mebibyte in the picture of a whole machine."""
    return size_bytes if size_bytes >= MIB else 0


def resident_bytes(pid: int | None = None) -> int:
    """Of one process; 0 when it is gone. None: this one."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def tree_bytes(pid: int) -> int:
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return 0
    return resident_bytes(pid) + sum(resident_bytes(child.pid) for child in children)


def job_pids(root: Path) -> list[int]:
    """Of the jobs that are at work, whoever started them."""
    folders = [JobFolder(path) for path in root.iterdir()] if root.is_dir() else []
    return [folder.pid for folder in folders if folder.is_alive() and folder.pid]


# -- the running server's -------------------------------------------------------------------------

history = History()


@at_start
async def sample_for_life(runtime: Runtime) -> None:
    runtime.spawn(sample(runtime, history))


async def sample(runtime: Runtime, into: History) -> None:
    while True:
        residents = runtime.pool.residents()
        try:
            told = await uses(residents, runtime)
            taken = await asyncio.to_thread(take, residents, told)
            into.samples.append(taken)
            runtime.pool.reserve(reserved_bytes(taken))
        except Exception:
            log.exception("a look at the memory failed")
        await asyncio.sleep(EVERY_SECONDS)
