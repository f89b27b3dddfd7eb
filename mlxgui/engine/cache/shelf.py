"""What is known, and what of it is kept in memory, within a bound of bytes."""

from array import array
from collections.abc import Callable
from typing import Any

from mlxgui.engine.cache import arrays
from mlxgui.engine.cache.entries import LEAVES_FIRST, Entry, Kind, heir_of, next_to_go
from mlxgui.engine.cache.reasons import Reason
from mlxgui.engine.cache.trie import Trie

RECORDS, RECORD_TOKENS = 1024, 1 << 21
"""How much is remembered of what was dropped, to explain a miss: 8 MiB at most. Each request looks
at all that begins as it does, so there must not be many."""


class Shelf:
    """
    Args:
        bound: never more bytes than that.
        leaving: told of an entry that is about to lose its place in memory.
    """

    def __init__(self, bound: int, leaving: Callable[[Entry], None]) -> None:
        self.bound = bound
        self.leaving = leaving
        self.nbytes = 0
        self.evicted = 0
        self.trie = Trie()
        self.memory: dict[Entry, None] = {}
        """Least recently used first."""
        self.ghosts: dict[Entry, None] = {}
        """Known, but nothing is kept of them; the oldest first."""

    def entry(self, tokens: "array[int]", kind: Kind, floor: int) -> Entry:
        """What is known of exactly these tokens; from now on, they are."""
        node = self.trie.add(tokens)
        if node.entry is None:
            node.entry = Entry(node, kind, floor)
            self.ghosts[node.entry] = None
            self._forget()
        entry: Entry = node.entry
        entry.kind = max(entry.kind, kind, key=LEAVES_FIRST.index)
        if not entry.is_alive:
            entry.floor = floor
        return entry

    def keep(self, entry: Entry, cache: list[Any]) -> None:
        entry.cache, entry.lost = cache, None
        entry.nbytes = arrays.bytes_of(cache)
        self.nbytes += entry.nbytes
        self.memory[entry] = None
        self.ghosts.pop(entry, None)

    def touch(self, entry: Entry) -> None:
        if entry in self.memory:
            self.memory[entry] = self.memory.pop(entry)

    def release(self, entry: Entry) -> None:
        entry.cache = None
        self.nbytes -= entry.nbytes
        del self.memory[entry]
        self.mourn(entry)

    def mourn(self, entry: Entry) -> None:
        if not entry.is_alive:
            self.ghosts[entry] = None

    def absorb(self, entry: Entry) -> None:
        """Shorter beginnings that this one can be cut back to only take space."""
        for shorter in entry.shorter():
            if shorter.cache is not None:
                self.release(shorter)

    def evict(self) -> None:
        while self.nbytes > self.bound:
            self._let_go(next_to_go(self.memory))

    def _forget(self) -> None:
        """All but the newest record may go."""
        while len(self.ghosts) > 1 and (
            len(self.ghosts) > RECORDS or self.trie.size > RECORD_TOKENS
        ):
            entry = next(iter(self.ghosts))
            del self.ghosts[entry]
            self.trie.remove(entry.node)

    def _let_go(self, entry: Entry) -> None:
        self.leaving(entry)
        cache = entry.cache
        self.release(entry)
        self.evicted += 1
        if not entry.file:
            entry.lost = Reason.EVICTED
        heir = heir_of(entry)
        if heir is not None and cache is not None:
            shorter = arrays.view(cache, entry.length, heir.length)
            own = arrays.compact(shorter) if shorter is not None else None
            if own is not None:
                self.keep(heir, own)

    def stats(self) -> dict[str, Any]:
        kinds: dict[str, dict[str, int]] = {k: {"entries": 0, "bytes": 0} for k in LEAVES_FIRST}
        for entry in self.memory:
            kinds[entry.kind]["entries"] += 1
            kinds[entry.kind]["bytes"] += entry.nbytes
        return {
            "entries": len(self.memory),
            "bytes": self.nbytes,
            "bound_bytes": self.bound,
            "kinds": kinds,
            "evicted": self.evicted,
            "record_tokens": self.trie.size,
        }
