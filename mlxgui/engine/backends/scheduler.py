"""Who is prefilled next, and how much of it, between two decoding steps.

Steps take turns: one decodes a token for every row, the next prefills a chunk, so that a token is
told before a chunk is read. Waiting requests go by priority, then the shortest first: a short one
behind a long prefill starts after at most one chunk.
Chunks are sized by measured speed: on a slow machine a long prompt must not stop all others.
"""

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache, make_prompt_cache

from mlxgui.engine.backends.batch import MaskRows
from mlxgui.engine.backends.budget import Budget
from mlxgui.engine.backends.decoding import Decoding
from mlxgui.engine.backends.entry import Entry, Prefilled
from mlxgui.engine.backends.prefill import Prefill
from mlxgui.engine.backends.quantised import Quantisation
from mlxgui.engine.backends.speculative import Speculator
from mlxgui.engine.backends.speed import FIRST_GUESS_TOKENS_PER_SECOND, PrefillSpeed
from mlxgui.engine.cache.entries import Kind

FEW = 4
FEW_SECONDS, CROWD_SECONDS = 0.1, 0.25
"""Short prompts share a prefill as long as it stays below. Few hear their first token sooner when
they are read one after the other; a crowd is through sooner in larger passes."""
BESIDE_OTHERS_SECONDS = 0.25
ALONE_SECONDS = 1.0
MIN_CHUNK_TOKENS = 32
CLEAR_CACHE_STEPS = 512
AGING_TOKENS_PER_SECOND = 1000.0
"""So much shorter does a prompt count for each second that no chunk of it was read."""


class Scheduler:
    """
    Args:
        model: an mlx-lm model.
        max_rows: rows that decode side by side.
        max_chunk_tokens: prompt tokens in one forward pass.
        max_kv_tokens: bound of each row's KV cache; 0 = none.
        quantisation: of the KV cache; None = none.
        speculator: the draft model's side; None = nothing is drafted.
        budget: of memory for rows; None = no bound.
        on_segment: called when a segment of an entry was prefilled, while its cache can be had.
    """

    def __init__(
        self,
        model: Any,
        *,
        max_rows: int,
        max_chunk_tokens: int,
        max_kv_tokens: int = 0,
        quantisation: Quantisation | None = None,
        speculator: Speculator | None = None,
        budget: Budget | None = None,
        on_segment: Callable[[Entry, Kind], None],
        mask_rows: MaskRows | None = None,
        tokens_per_second: float = FIRST_GUESS_TOKENS_PER_SECOND,
    ) -> None:
        self.model = model
        self.max_rows = max_rows
        self.max_chunk_tokens = max_chunk_tokens
        self.max_kv_tokens = max_kv_tokens
        self.speed = PrefillSpeed(tokens_per_second)
        self.waiting: list[Entry] = []
        caches = make_prompt_cache(model, max_kv_tokens or None)
        self.can_cut = all(type(layer) is KVCache for layer in caches)
        self._quantisation = quantisation
        self._budget = budget
        self._decoding = Decoding(model, mask_rows, quantisation, speculator)
        self._on_segment = on_segment
        self._mask_rows = mask_rows
        self._next_uid = 0
        self._steps_until_clear = CLEAR_CACHE_STEPS
        self.reads_next = False
        """Whether the next step may prefill, which takes long."""

    # -- in and out -------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        entry.uids = list(range(self._next_uid, self._next_uid + len(entry.plans)))
        self._next_uid += len(entry.plans)
        entry.waits_since = time.perf_counter()
        if self.can_cut:
            entry.join_segments()
        self.waiting.append(entry)

    def remove(self, entry: Entry, uids: list[int]) -> list[tuple[list[Any], list[int]]]:
        """Forget these rows; returns (cache, the tokens in it) of what was computed for them."""
        if entry in self.waiting:
            self.waiting.remove(entry)
            return [self.cache_of(entry)] if entry.batch is not None else []
        return self._decoding.remove(uids)

    def cache_of(self, entry: Entry) -> tuple[list[Any], list[int]]:
        """The prefilled part of an entry's prompt: its cache and the tokens in it."""
        assert entry.batch is not None
        return entry.batch.extract_cache(entry.place), list(entry.batch.tokens[entry.place])

    @property
    def rows(self) -> int:
        return len(self._decoding)

    @property
    def is_busy(self) -> bool:
        return bool(self.waiting) or self.rows > 0

    @property
    def kv_bytes(self) -> int:
        batches = [entry.batch for entry in self.waiting if entry.batch]
        read = sum(int(cache.nbytes) for batch in batches for cache in batch.prompt_cache)
        return read + self._decoding.nbytes

    # -- steps ------------------------------------------------------------------------------------

    def step(self) -> tuple[list[Prefilled], list[Any]]:
        """(what was prefilled, mlx-lm's Response of each decoded token); one of them is empty."""
        reports = self._prefill() if self.reads_next or not self.rows else []
        self.reads_next = False
        if reports or not self.rows:
            return reports, []
        if first := self._decoding.first():
            self.speed.ended()
            return [], first
        decoded = self._decoding.next()
        self._steps_until_clear -= 1
        if not self._steps_until_clear:
            self._steps_until_clear = CLEAR_CACHE_STEPS
            mx.clear_cache()
        self.reads_next = bool(self._fitting())
        return [], decoded

    def _prefill(self) -> list[Prefilled]:
        chosen = self._choose()
        if not chosen:
            return []
        started = time.perf_counter()
        reports, tokens = self._prefill_chunk(chosen)
        self.speed.began(tokens, started)
        if (batch := chosen[0].batch) is not None:
            batch.wait()
            self.speed.ended()
        else:
            self._steps_until_clear = 1  # a prompt leaves large arrays behind
        return reports

    def _choose(self) -> list[Entry]:
        """The entry whose turn it is, and those short ones that may as well come along."""
        fitting = self._fitting()
        now = time.perf_counter()
        fitting.sort(key=lambda entry: (-entry.priority, self._length(entry, now)))
        if fitting and self._budget is not None:
            fitting = self._budget.let_in(fitting, self.waiting, self._decoding.uids)
        if not fitting:
            return []
        first = fitting[0]
        left = first.left_tokens
        if first.batch is not None or not 0 < left <= self._chunk(CROWD_SECONDS):
            return [first]
        return self._companions(first, fitting)

    def _fitting(self) -> list[Entry]:
        """Those that wait and for which there are rows."""
        room = self.max_rows - self.rows
        return [entry for entry in self.waiting if len(entry.plans) <= room]

    def _companions(self, first: Entry, fitting: list[Entry]) -> list[Entry]:
        """Entries that fit into one padded forward pass, side by side."""
        room = self.max_rows - self.rows
        seconds = FEW_SECONDS if len(fitting) <= FEW else CROWD_SECONDS
        budget = max(first.left_tokens, self._chunk(seconds))
        chosen, widest = [first], first.left_tokens
        side = first.precision(self._quantisation)
        if not self._may_join(first) or side == "both":
            return chosen
        for entry in fitting[1:]:
            rows = sum(len(other.plans) for other in chosen) + len(entry.plans)
            width = max(widest, entry.left_tokens)
            alike = entry.batch is None and entry.priority == first.priority
            alike = alike and entry.precision(self._quantisation) == side
            if not alike or rows > room or not self._may_join(entry):
                continue
            if width * (len(chosen) + 1) > budget:
                break
            chosen.append(entry)
            widest = width
        return chosen

    def _may_join(self, entry: Entry) -> bool:
        """A state that cannot be cut is kept at each segment's end, so the pass must stop there."""
        return len(entry.segments) == 1 or (self.can_cut and bool(entry.segments))

    def _length(self, entry: Entry, now: float) -> float:
        return entry.left_tokens - (now - entry.waits_since) * AGING_TOKENS_PER_SECOND

    def _chunk(self, seconds: float) -> int:
        return max(MIN_CHUNK_TOKENS, min(self.speed.tokens_in(seconds), self.max_chunk_tokens))

    def _prefill_chunk(self, chosen: list[Entry]) -> tuple[list[Prefilled], int]:
        """One forward pass for all; entries that are whole afterwards begin to decode."""
        others = self.rows > 0 or len(self.waiting) > len(chosen)
        budget = self._chunk(BESIDE_OTHERS_SECONDS if others else ALONE_SECONDS)
        if len(chosen) > 1:
            return self._prefill_together(chosen)
        (entry,) = chosen
        batch = entry.batch = entry.batch or self._open([entry])
        tokens = entry.segments[0][:budget] if entry.segments else []
        if tokens:
            tokens = batch.read(tokens, self._quantisation, may_cut=self._may_cut(entry))
        reports = [self._advance(entry, len(tokens))]
        if not entry.segments:
            self._begin([entry], batch)
        return reports, len(tokens)

    def _may_cut(self, entry: Entry) -> bool:
        """May what is left of its prompt be read in pieces?"""
        return True

    def _prefill_together(self, chosen: list[Entry]) -> tuple[list[Prefilled], int]:
        """Short prompts in one pass, which ends where the last segment of each does."""
        batch = self._open(chosen)
        tokens = [[t for segment in entry.segments for t in segment] for entry in chosen]
        batch.prompt(tokens)
        reports = []
        for place, (entry, row) in enumerate(zip(chosen, tokens, strict=True)):
            entry.segments, entry.batch, entry.place = [], batch, place
            entry.done_tokens += len(row)
            self.waiting.remove(entry)
            self._on_segment(entry, entry.kinds[-1])
            reports.append(Prefilled(entry, entry.done_tokens, True, True))
        self._begin(chosen, batch)
        return reports, sum(len(row) for row in tokens)

    def _advance(self, entry: Entry, count: int) -> Prefilled:
        entry.done_tokens += count
        entry.waits_since = time.perf_counter()
        ended = False
        if entry.segments:
            entry.segments[0] = entry.segments[0][count:]
            if not entry.segments[0]:
                entry.segments.pop(0)
                ended = True
                self._on_segment(entry, entry.kinds.pop(0))
        if not entry.segments:
            self.waiting.remove(entry)
        return Prefilled(entry, entry.done_tokens, ended, not entry.segments)

    def _open(self, entries: list[Entry]) -> Prefill:
        caches = [self._cache_for(entry) for entry in entries]
        for entry in entries:
            entry.cache = None
        return Prefill(
            model=self.model,
            uids=[entry.uids[0] for entry in entries],
            caches=caches,
            tokens=[list(entry.prefix) for entry in entries],
            plans=[entry.plans[0] for entry in entries],
            stops=[entry.stop for entry in entries],
            max_tokens=[entry.max_tokens[0] for entry in entries],
        )

    def _cache_for(self, entry: Entry) -> list[Any]:
        """What was found for it, or an empty one."""
        cache = entry.cache or make_prompt_cache(self.model, self.max_kv_tokens or None)
        if self._quantisation is not None and self._quantisation.is_due(len(entry.prefix)):
            return self._quantisation.quantised(cache)
        return cache

    def _begin(self, entries: list[Entry], batch: Prefill) -> None:
        """Decode from here on. Further choices of an entry start from copies of its cache."""
        groups = [(batch, [entry.last for entry in entries])]
        for place, entry in enumerate(entries):
            if more := len(entry.plans) - 1:
                rows = batch.copies(
                    place,
                    uids=entry.uids[1:],
                    plans=entry.plans[1:],
                    max_tokens=entry.max_tokens[1:],
                )
                groups.append((rows, [entry.last] * more))
            entry.batch = None
        for rows, lasts in groups:
            self._decoding.extend(rows.begin(lasts, self._mask_rows))
