"""Kept prompts in a folder: one file each, bounded, checked, written by a thread of its own.

The folder belongs to one worker. Names say what an index needs, so that a start reads no file:
`<signature>-<hash of the first tokens>-<hash of all>-<length>-<kind>.safetensors`.
"""

import contextlib
import hashlib
import logging
import os
import queue
import re
import shutil
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from mlxgui.engine.cache.files import Damaged, Header, Snapshot, read
from mlxgui.engine.cache.reasons import Reason

log = logging.getLogger("worker.cache")

SPARE_BYTES = 1 << 30
"""So much must stay free on the disk."""
QUARANTINED_FILES = 16
NAME = re.compile(
    r"(?P<signature>[0-9a-f]{12})-(?P<head>[0-9a-f]{12})-(?P<all>[0-9a-f]{16})"
    r"-(?P<length>\d{1,9})-(?P<kind>system|user|assistant)\.safetensors"
)


class Kept(Struct):
    name: str
    head: str
    size: int
    used_at: float
    is_adopted: bool = False


class Job(Struct):
    """To be written. `owner` is handed back with it."""

    name: str
    snapshot: Snapshot
    owner: Any
    era: int
    is_written: bool = False


def hash_of(tokens: "array[int]", digits: int = 12) -> str:
    return hashlib.sha256(tokens.tobytes()).hexdigest()[:digits]


class Disk:
    """
    Args:
        folder: of one worker alone.
        bound: bytes.
        signature: see signature.py.
        smallest: shorter prompts, in tokens, are soon read again and not written. So many are
            hashed to find a file, too.
    """

    def __init__(self, folder: Path, bound: int, signature: str, smallest: int) -> None:
        self.folder = folder
        self.smallest = smallest
        self.bound = bound
        self.signature = signature
        self.unread: dict[str, Reason] = {}
        """Beginnings whose file cannot be used, and why."""
        self.finished: deque[Job] = deque()
        self.gone: deque[str] = deque()
        self.counts = dict.fromkeys(
            ("written", "loaded", "removed", "quarantined", "no_space", "failed"), 0
        )
        self.pending_bytes = 0
        self._short = hashlib.sha256(signature.encode()).hexdigest()[:12]
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._era = 0
        self._is_scanned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)
        self._thread.start()

    # -- on the mlx thread ------------------------------------------------------------------------

    def adopt(self, tokens: "array[int]") -> Iterator[tuple[Kept, Header]]:
        """Files that begin like this prompt and were not asked for before."""
        if len(tokens) <= self.smallest:
            return
        self._is_scanned.wait(timeout=5)
        head = hash_of(tokens[: self.smallest])
        with self._lock:
            new = [k for k in self._kept.values() if k.head == head and not k.is_adopted]
        for kept in new:
            kept.is_adopted = True
            try:
                header = Header(self.folder / kept.name)
                self._check(kept.name, header)
                yield kept, header
            except (Damaged, OSError) as error:
                self.unread[head] = Reason.DAMAGED
                self.quarantine(kept.name, str(error))

    def lost(self, tokens: "array[int]") -> Reason | None:
        """Why a file that begins like this prompt cannot be used."""
        if len(tokens) <= self.smallest:
            return None
        return self.unread.get(hash_of(tokens[: self.smallest]))

    def load(self, name: str) -> list[Any] | None:
        """The cache, or None: the file is damaged and put aside."""
        path = self.folder / name
        try:
            header = Header(path)
            self._check(name, header)
            cache = read(path, header)
        except (Damaged, OSError) as error:
            self.quarantine(name, str(error))
            return None
        self.counts["loaded"] += 1
        self.touch(name)
        return cache

    def touch(self, name: str) -> None:
        """Used now; told to the file system too, so that a restart knows."""
        with self._lock:
            if name in self._kept:
                self._kept[name].used_at = time.time()
        with contextlib.suppress(OSError):
            os.utime(self.folder / name)

    def write(self, cache: list[Any], tokens: "array[int]", kind: str, floor: int, who: Any) -> str:
        """Hands over to the thread; `who` comes back through `finished`."""
        name = self.name_of(tokens, kind)
        facts = {"signature": self.signature, "kind": kind, "floor": str(floor)}
        job = Job(name, Snapshot(cache, tokens, facts), who, self._era)
        with self._lock:
            self.pending_bytes += job.snapshot.nbytes
        self._jobs.put(job)
        return name

    def name_of(self, tokens: "array[int]", kind: str) -> str:
        head = hash_of(tokens[: self.smallest])
        return f"{self._short}-{head}-{hash_of(tokens, 16)}-{len(tokens)}-{kind}.safetensors"

    def remove(self, name: str) -> None:
        with self._lock:
            self._kept.pop(name, None)
        with contextlib.suppress(OSError):
            (self.folder / name).unlink()
            self.counts["removed"] += 1

    def clear(self) -> None:
        """Everything, also what is on its way."""
        self._is_scanned.wait(timeout=5)
        with self._lock:
            self._era += 1
            names = list(self._kept)
        for name in names:
            self.remove(name)
        self.unread.clear()

    def forget_adopted(self, name: str = "") -> None:
        """Their owner forgot what it knew: offer this file, or every one, again."""
        with self._lock:
            for kept in self._kept.values():
                kept.is_adopted = kept.is_adopted and bool(name) and kept.name != name

    def close(self, seconds: float) -> bool:
        """Waits for the writer; False: it was not done in time."""
        self._jobs.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stats(self) -> dict[str, Any]:
        with self._lock:
            sizes = [kept.size for kept in self._kept.values()]
            pending = self.pending_bytes
        return {
            "entries": len(sizes),
            "bytes": sum(sizes),
            "bound_bytes": self.bound,
            "pending_bytes": pending,
            **self.counts,
        }

    # -- on either thread -------------------------------------------------------------------------

    def quarantine(self, name: str, why: str) -> None:
        """Put aside, never used again; the oldest there make room."""
        log.warning("prompt cache: %s is put aside: %s", name, why)
        self.counts["quarantined"] += 1
        with self._lock:
            self._kept.pop(name, None)
        self.gone.append(name)
        aside = self.folder / "quarantine"
        with contextlib.suppress(OSError):
            aside.mkdir(exist_ok=True)
            os.replace(self.folder / name, aside / name)
            self._bound_quarantine(aside)

    def _bound_quarantine(self, aside: Path) -> None:
        files = [(entry, entry.stat(follow_symlinks=False)) for entry in os.scandir(aside)]
        files.sort(key=lambda pair: pair[1].st_ctime_ns, reverse=True)
        total = 0
        for count, (entry, stat) in enumerate(files, 1):
            total += stat.st_size
            if count > QUARANTINED_FILES or total > self.bound // 10:
                os.unlink(entry.path)

    def _check(self, name: str, header: Header) -> None:
        if header.facts.get("signature") != self.signature:
            raise Damaged("it belongs to another model or other settings")
        if self.name_of(header.tokens, header.facts.get("kind", "")) != name:
            raise Damaged("its name and its tokens differ")

    # -- on the writer's thread -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._scan()
        except OSError as error:
            log.warning("prompt cache: %s cannot be read: %s", self.folder, error)
        self._is_scanned.set()
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job  # a snapshot ends on the thread that made it

    def _do(self, job: Job) -> None:
        try:
            job.is_written = self._write(job)
        except OSError as error:
            self.counts["failed"] += 1
            log.warning("prompt cache: %s could not be written: %s", job.name, error)
        size = job.snapshot.nbytes
        self.finished.append(job)
        with self._lock:
            self.pending_bytes -= size

    def _scan(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for entry in list(os.scandir(self.folder)):
            if entry.name.endswith(".part"):
                os.unlink(entry.path)
            elif entry.name.endswith(".safetensors"):
                self._take_in(entry)
        self._make_room()

    def _take_in(self, entry: "os.DirEntry[str]") -> None:
        match = NAME.fullmatch(entry.name)
        if match is None or not entry.is_file(follow_symlinks=False):
            self.quarantine(entry.name, "it is not ours")
        elif match["signature"] != self._short:
            self.unread[match["head"]] = Reason.SETTINGS_CHANGED
            self.quarantine(entry.name, "it was made with another model or other settings")
        else:
            stat = entry.stat(follow_symlinks=False)
            kept = Kept(entry.name, match["head"], stat.st_size, stat.st_mtime)
            with self._lock:
                self._kept[entry.name] = kept

    def _write(self, job: Job) -> bool:
        size = job.snapshot.nbytes
        if size > self.bound or job.era != self._era:
            return False
        if shutil.disk_usage(self.folder).free - size < SPARE_BYTES:
            self.counts["no_space"] += 1
            return False
        size = job.snapshot.write(self.folder / job.name)
        head = job.name.split("-")[1]
        with self._lock:
            if job.era == self._era:
                self._kept[job.name] = Kept(job.name, head, size, time.time(), is_adopted=True)
        if job.era != self._era:
            self.remove(job.name)
            return False
        self.counts["written"] += 1
        self._make_room()
        return True

    def _make_room(self) -> None:
        with self._lock:
            by_use = sorted(self._kept.values(), key=lambda kept: kept.used_at)
        total = sum(kept.size for kept in by_use)
        for kept in by_use:
            if total <= self.bound:
                return
            total -= kept.size
            self.remove(kept.name)
            self.gone.append(kept.name)
