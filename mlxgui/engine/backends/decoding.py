"""All rows that decode: those at full precision, those over a quantised cache, a lone one ahead.

A row moves from the first batch to the second when it is long enough (quantised.py). A row that is
alone may be drafted (speculative.py); as soon as there is another, both go on in the batch.
"""

from typing import Any

from mlxgui.engine.backends.batch import Batch, MaskRows, never_used
from mlxgui.engine.backends.quantised import Quantisation, is_quantised, merged
from mlxgui.engine.backends.speculative import Speculator


class Decoding:
    """
    Args:
        model: an mlx-lm model.
        mask_rows: how grammars forbid tokens.
        quantisation: None = all rows stay at full precision.
        speculator: None = no model drafts.
    """

    def __init__(
        self,
        model: Any,
        mask_rows: MaskRows | None,
        quantisation: Quantisation | None,
        speculator: Speculator | None,
    ) -> None:
        self.quantisation = quantisation
        self.speculator = speculator
        self.plain = Batch.empty(model, never_used)
        self.quantised = Batch.empty(model, never_used)
        self.batches = [self.plain, self.quantised]
        for batch in self.batches:
            batch.mask_rows = mask_rows

    def __len__(self) -> int:
        return len(self.plain) + len(self.quantised)

    @property
    def uids(self) -> list[int]:
        return [uid for batch in self.batches for uid in batch.uids]

    @property
    def nbytes(self) -> int:
        return sum(int(layer.nbytes) for batch in self.batches for layer in batch.prompt_cache)

    def extend(self, batch: Batch) -> None:
        """More rows, which have taken their first step."""
        (self.quantised if is_quantised(batch.prompt_cache) else self.plain).extend(batch)
        self._move_long_rows()

    def first(self) -> list[Any]:
        """mlx-lm's Response of the first token of each row that has said nothing yet."""
        return self._with_kept(
            [response for batch in self.batches if len(batch) for response in batch.first()]
        )

    def next(self) -> list[Any]:
        """mlx-lm's Response of each decoded token: one a row, of a drafted row one or more."""
        alone = len(self) == 1
        return self._with_kept(
            [r for batch in self.batches if len(batch) for r in self._next(batch, alone)]
        )

    def _with_kept(self, responses: list[Any]) -> list[Any]:
        if self.quantisation is not None:
            for response in responses:
                if response.prompt_cache is not None:
                    response.prompt_cache = self._kept(response.prompt_cache, response.all_tokens)
            self._move_long_rows()
        return responses

    def _next(self, batch: Batch, alone: bool) -> list[Any]:
        plan = batch.samplers[0]
        if not alone or self.speculator is None or not plan.draft:
            return batch.next()
        quantisation = self.quantisation
        room = 1 << 30
        if quantisation is not None and batch is self.plain:
            room = quantisation.start_tokens - len(batch.tokens[0])
        return self.speculator.next(batch, room)

    def remove(self, uids: list[int]) -> list[tuple[list[Any], list[int]]]:
        """Forget these rows; returns (cache, the tokens in it) of each."""
        computed = []
        for batch in self.batches:
            places = [i for i, uid in enumerate(batch.uids) if uid in uids]
            computed += [(batch.extract_cache(i), list(batch.tokens[i])) for i in places]
            if places:
                batch.filter([i for i in range(len(batch)) if i not in places])
        return computed

    def _kept(self, cache: list[Any], tokens: list[int]) -> list[Any]:
        """A row that ended just when it was long enough is kept like one that went on."""
        assert self.quantisation is not None
        return self.quantisation.quantised(cache) if self._is_due(tokens) else cache

    def _is_due(self, tokens: list[int]) -> bool:
        return self.quantisation is not None and self.quantisation.is_due(len(tokens))

    def _move_long_rows(self) -> None:
        plain, quantisation = self.plain, self.quantisation
        if quantisation is None:
            return
        places = [i for i, tokens in enumerate(plain.tokens) if self._is_due(tokens)]
        for place in places:
            cache = merged([quantisation.quantised(plain.extract_cache(place))])
            self.quantised.extend(plain.row(place, cache))
        if places:
            plain.filter([i for i in range(len(plain)) if i not in places])
