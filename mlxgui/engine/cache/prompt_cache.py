"""States of prompts that were read before: in memory, on disk, and why one was not there.

Used on the worker's one mlx thread only. Nothing here waits for the disk but reading an entry that
is about to be used; writing happens on the thread in disk.py, when nothing runs (`idle`).
"""

import time
from array import array
from pathlib import Path
from typing import Any

from msgspec import Struct

from mlxgui.engine.cache import arrays
from mlxgui.engine.cache.disk import Disk
from mlxgui.engine.cache.entries import LEAVES_FIRST, Entry, Kind, best_of, cover_of, known_to
from mlxgui.engine.cache.explain import Lookup, explain
from mlxgui.engine.cache.reasons import Divergence, Reason
from mlxgui.engine.cache.segments import Layout
from mlxgui.engine.cache.shelf import Shelf
from mlxgui.engine.cache.trie import packed

PATIENCE_SECONDS = 30.0
"""A worker that is never idle still writes what is older."""


class Found(Struct):
    """What is known of a prompt. The cache is the caller's own, to change as it likes."""

    cache: list[Any] | None
    cached_tokens: int
    tier: str
    """"memory", "disk" or "" (nothing reused)."""
    reason: Reason
    divergence: Divergence | None


class PromptCache:
    """
    Args:
        bytes_in_memory: never more than that is kept in memory.
        folder: of this worker alone; None: nothing on disk.
        bytes_on_disk: never more than that is kept there; 0: nothing on disk.
        signature: see signature.py; entries of another one are not used.
        smallest_on_disk: in tokens; what is shorter is soon read again, and not written.
        quantised_from: tokens from which on a state is quantised. A quantised one cannot be cut
            back to fewer: these would have been read at full precision.
    """

    def __init__(
        self,
        *,
        bytes_in_memory: int,
        folder: Path | None,
        bytes_on_disk: int,
        signature: str,
        smallest_on_disk: int = 256,
        quantised_from: int = 0,
    ) -> None:
        self.quantised_from = quantised_from
        self.disk: Disk | None = None
        if folder and bytes_on_disk:
            self.disk = Disk(folder, bytes_on_disk, signature, smallest_on_disk)
        self._counts = {"refused": 0, "too_large": 0}
        self._reasons = dict.fromkeys(Reason, 0)
        self._tokens = {"asked": 0, "memory": 0, "disk": 0}
        self._is_always_trimmable = False
        self._start(bytes_in_memory)

    def _start(self, bytes_in_memory: int) -> None:
        self.shelf = Shelf(bytes_in_memory, self._leaving)
        self._unwritten: dict[Entry, None] = {}
        self._files: dict[str, Entry] = {}

    # -- finding ----------------------------------------------------------------------------------

    def fetch(self, tokens: list[int], layout: Layout) -> Found:
        """The longest known beginning of a prompt, but its last token: that one must be run."""
        self._catch_up()
        sought = packed(tokens)
        self._adopt(sought)
        walk = self.shelf.trie.walk(sought)
        entries = known_to(walk)
        cache, used, tier = self._best(entries, min(walk.matched, len(sought) - 1))
        unread = self.disk.lost(sought) if self.disk is not None else None
        reason, divergence = explain(Lookup(sought, layout, walk, entries, used, unread))
        self._reasons[reason] += 1
        self._tokens["asked"] += len(sought)
        if tier:
            self._tokens[tier] += used
        return Found(cache, used, tier, reason, divergence)

    def _best(self, entries: list[Entry], reach: int) -> tuple[list[Any] | None, int, str]:
        """The best that can really be had: a cache, its tokens, where it was."""
        while (entry := best_of(entries, reach)) is not None:
            tier = "memory" if entry.cache is not None else "disk"
            whole = entry.cache or self._load(entry)
            if whole is None:
                continue
            wanted = entry.serves(reach)
            cache = arrays.view(whole, entry.length, wanted)
            if cache is not None:
                self._touch(entry)
                self.shelf.evict()
                return cache, wanted, tier
            entry.floor = entry.length  # it said it could be cut back, and could not
        return None, 0, ""

    def _load(self, entry: Entry) -> list[Any] | None:
        """From disk, into memory if there can be room."""
        assert self.disk is not None
        cache = self.disk.load(entry.file)
        if cache is None:
            self._lose_file(entry, Reason.DAMAGED)
        elif arrays.bytes_of(cache) <= self.shelf.bound:
            self.shelf.keep(entry, cache)
        return cache

    def _touch(self, entry: Entry) -> None:
        self.shelf.touch(entry)
        if entry.file and self.disk is not None:
            self.disk.touch(entry.file)

    def _adopt(self, sought: "array[int]") -> None:
        """Files that begin like this prompt become known."""
        if self.disk is None:
            return
        for kept, header in self.disk.adopt(sought):
            kind: Any = header.facts["kind"]
            entry = self.shelf.entry(header.tokens, kind, int(header.facts["floor"]))
            self._set_file(entry, kept.name)

    # -- keeping ----------------------------------------------------------------------------------

    def reached(self, tokens: list[int], kind: Kind) -> bool:
        """A prompt has been read up to the end of a segment. False: there is no need to store its
        state, since it is there already, or since that of the whole reply will serve (a state that
        can always be cut back serves every beginning of itself)."""
        always = self._is_always_trimmable and len(tokens) >= self.quantised_from
        floor = 0 if always else len(tokens)
        entry = self.shelf.entry(packed(tokens), kind, floor)
        cover = cover_of(entry.node)
        if cover is not None:
            self._touch(cover)
        return cover is None and (kind != "user" or not always)

    def store(self, tokens: list[int], cache: list[Any], kind: Kind) -> None:
        """Keep the state behind these tokens. Copies it; the copy is computed in the background."""
        self._catch_up()
        if not tokens or not arrays.holds(cache, len(tokens)):
            self._counts["refused"] += 1
            return
        self._is_always_trimmable = arrays.is_always_trimmable(cache)
        floor = arrays.floor_of(cache, len(tokens))
        if len(tokens) >= self.quantised_from:
            floor = max(floor, self.quantised_from)
        entry = self.shelf.entry(packed(tokens), kind, floor)
        entry.stored_at = time.monotonic()
        cover = cover_of(entry.node)
        if cover is None:
            self._take(entry, cache)
        else:
            self._touch(cover)
        self._write_later(entry)

    def _take(self, entry: Entry, cache: list[Any]) -> None:
        own = arrays.compact(cache, most=self.shelf.bound)
        if own is None:
            self._counts["too_large"] += 1
            entry.lost = Reason.TOO_LARGE
            return
        self.shelf.keep(entry, own)
        if entry.floor == 0:
            self.shelf.absorb(entry)
            for shorter in entry.shorter():
                if shorter.kind != "system":
                    self._unwritten.pop(shorter, None)
        self.shelf.evict()

    # -- disk -------------------------------------------------------------------------------------

    def idle(self) -> bool:
        """Nothing runs: hand entries to the writer. True: there is more to do, call again soon."""
        self._catch_up()
        for kind in reversed(LEAVES_FIRST):
            for entry in [one for one in self._unwritten if one.kind == kind]:
                if self._is_writer_full:
                    return True
                self._write(entry)
        return bool(self.disk and self.disk.pending_bytes)

    @property
    def _is_writer_full(self) -> bool:
        return self.disk is not None and self.disk.pending_bytes > self.shelf.bound // 4

    def _write_later(self, entry: Entry) -> None:
        if self.disk is None:
            return
        if entry.length >= self.disk.smallest and not entry.file:
            self._unwritten[entry] = None
        late = time.monotonic() - PATIENCE_SECONDS
        for waiting in [one for one in self._unwritten if one.stored_at < late]:
            if not self._is_writer_full:
                self._write(waiting)

    def _leaving(self, entry: Entry) -> None:
        if entry in self._unwritten and not self._is_writer_full:
            self._write(entry)

    def _write(self, entry: Entry) -> None:
        self._unwritten.pop(entry, None)
        cover = cover_of(entry.node)
        if self.disk is None or cover is None or not self._is_worth_writing(entry):
            return
        assert cover.cache is not None
        cache: list[Any] | None = cover.cache
        if cover is not entry:
            shorter = arrays.view(cover.cache, cover.length, entry.length)
            cache = arrays.compact(shorter) if shorter is not None else None
        if cache is not None:
            self.disk.write(cache, entry.node.tokens(), entry.kind, entry.floor, entry)

    def _is_worth_writing(self, entry: Entry) -> bool:
        """Not what a file covers already, nor what is hardly more than one."""
        if entry.kind == "system":
            return True
        below = [node.entry for node in entry.node.below() if node.entry and node.entry.file]
        if self.disk is None or any(one.floor <= entry.length for one in below):
            return False
        kept = next((one.length for one in entry.shorter() if one.file), 0)
        return entry.length - kept >= self.disk.smallest

    def _catch_up(self) -> None:
        """What the writer did since: files that are there now, files that are gone."""
        if self.disk is None:
            return
        while self.disk.finished:
            job = self.disk.finished.popleft()
            entry: Entry = job.owner
            if job.is_written and entry.node.is_under(self.shelf.trie.root):
                self._set_file(entry, job.name)
                self._drop_shorter_files(entry)
            elif job.is_written:  # of before a reset
                self.disk.forget_adopted(job.name)
        while self.disk.gone:
            lost = self._files.get(self.disk.gone.popleft())
            if lost is not None:
                self._lose_file(lost, Reason.EVICTED)

    def _drop_shorter_files(self, entry: Entry) -> None:
        """A conversation that grew needs one file; what others share (system) keeps its own."""
        if entry.floor or self.disk is None:
            return
        for shorter in entry.shorter():
            if shorter.file and shorter.kind != "system":
                self.disk.remove(shorter.file)
                self._lose_file(shorter, None)

    def _set_file(self, entry: Entry, name: str) -> None:
        entry.file, entry.lost = name, None
        self._files[name] = entry
        self.shelf.ghosts.pop(entry, None)

    def _lose_file(self, entry: Entry, why: Reason | None) -> None:
        self._files.pop(entry.file, None)
        entry.file = ""
        if entry.cache is None:
            entry.lost = why
            self.shelf.mourn(entry)

    # -- the rest ---------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        self._catch_up()
        return {
            "memory": {**self.shelf.stats(), **self._counts},
            "disk": self.disk.stats() if self.disk else None,
            "reasons": {str(reason): count for reason, count in self._reasons.items()},
            "tokens": dict(self._tokens),
        }

    def reset(self, memory: bool = True, disk: bool = False) -> None:
        """Forget what is in memory, on disk, or both."""
        if disk and self.disk is not None:
            self.disk.clear()
            for entry in list(self._files.values()):
                self._lose_file(entry, Reason.EVICTED)
        if memory:
            self._start(self.shelf.bound)
            if self.disk is not None:
                self.disk.forget_adopted()

    def close(self, seconds: float = 5.0) -> bool:
        """Write what is still unwritten, for so long at most. False: not all of it was written."""
        if self.disk is None:
            return True
        for entry in reversed(list(self._unwritten)):
            self._write(entry)
        return self.disk.close(seconds)
