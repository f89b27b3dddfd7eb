"""Prompts that are being read: mlx-lm's prompt batch, whose rows go on into our decoding batch."""

import copy
from typing import Any

import mlx.core as mx
from mlx_lm.generate import PromptProcessingBatch, StopSequences

from mlxgui.engine.backends.batch import Batch, MaskRows, never_used
from mlxgui.engine.backends.drawing import RowPlan
from mlxgui.engine.backends.quantised import Quantisation, merged


class Prefill(PromptProcessingBatch):
    """
    Args:
        caches: of each row, which hold its `tokens`.
        plans, stops, max_tokens: of the row's answer.
    """

    uids: list[int]
    tokens: list[list[int]]
    prompt_cache: list[Any]
    samplers: list[RowPlan]
    logits_processors: list[Any]
    stop_sequences: list[StopSequences]
    max_tokens: list[int]

    def __init__(
        self,
        *,
        model: Any,
        uids: list[int],
        caches: list[list[Any]],
        tokens: list[list[int]],
        plans: list[RowPlan],
        stops: list[StopSequences],
        max_tokens: list[int],
    ) -> None:
        super().__init__(
            model=model,
            uids=uids,
            caches=[],
            tokens=tokens,
            samplers=plans,
            fallback_sampler=never_used,
            logits_processors=[[] for _ in uids],
            stop_sequences=stops,
            max_tokens=max_tokens,
        )
        self.prompt_cache = merged(caches)

    def copies(
        self, place: int, *, uids: list[int], plans: list[RowPlan], max_tokens: list[int]
    ) -> "Prefill":
        """Further rows that stand where one of these does, each on a cache of its own."""
        cache = self.extract_cache(place)
        return Prefill(
            model=self.model,
            uids=uids,
            caches=[copy.deepcopy(cache) for _ in uids],
            tokens=[list(self.tokens[place]) for _ in uids],
            plans=plans,
            stops=[self.stop_sequences[place]] * len(uids),
            max_tokens=max_tokens,
        )

    def prompt(self, tokens: list[list[int]]) -> None:
        """Each row's next tokens in one forward pass, which is not waited for: the pass that comes
        next can be made ready meanwhile."""
        for known, more in zip(self.tokens, tokens, strict=True):
            known += more
        lengths = [len(row) for row in tokens]
        padding = [max(lengths) - length for length in lengths]
        if any(padding):
            for layer in self.prompt_cache:
                layer.prepare(lengths=lengths, right_padding=padding)
        rows = [row + [0] * pad for row, pad in zip(tokens, padding, strict=True)]
        self.model(mx.array(rows), cache=self.prompt_cache)
        if any(padding):
            for layer in self.prompt_cache:
                layer.finalize()
        mx.async_eval(self._states())

    def wait(self) -> None:
        """Until what was asked for is read."""
        mx.eval(self._states())
        mx.clear_cache()  # the next chunk has other shapes

    def _states(self) -> list[Any]:
        return [layer.state for layer in self.prompt_cache]

    def read(
        self, tokens: list[int], quantisation: Quantisation | None, *, may_cut: bool
    ) -> list[int]:
        """The only row's next tokens, or as many as may be read at one precision; returns these."""
        before = len(self.tokens[0])
        if quantisation is None or quantisation.is_due(before):
            self.prompt([tokens])
            return tokens
        if may_cut:
            tokens = tokens[: quantisation.start_tokens - before]
        self.prompt([tokens])
        if quantisation.is_due(before + len(tokens)):
            self.prompt_cache = merged([quantisation.quantised(self.extract_cache(0))])
        return tokens

    def begin(self, lasts: list[int], mask_rows: MaskRows | None) -> Batch:
        """Each row's last prompt token goes in; the first step is taken at once."""
        made = Batch(
            self.model,
            self.uids,
            mx.array(lasts),
            self.prompt_cache,
            self.tokens,
            self.samplers,
            self.fallback_sampler,
            self.logits_processors,
            self.stop_sequences,
            self.max_tokens,
            mask_rows=mask_rows,
        )
        self.uids, self.prompt_cache, self.tokens = [], [], []
        self.samplers, self.logits_processors, self.max_tokens = [], [], []
        return made
