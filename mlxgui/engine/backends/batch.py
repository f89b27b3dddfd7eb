"""The decoding batch: one step for all rows, whatever each of them asked for.

mlx-lm's GenerationBatch keeps the rows, their caches and their stop sequences. Its step is replaced
by one that (1) computes log probabilities only for rows that need them, (2) draws rows of the same
truncation in one call, seeded ones with a key per row and position, and (3) masks all constrained
rows at once while the model already runs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx_lm.generate import GenerationBatch

from mlxgui.engine.backends.alone import alone, side_by_side
from mlxgui.engine.backends.drawing import RowPlan, draw, group_rows

MaskRows = Callable[[mx.array, np.ndarray, list[int]], mx.array]


class Reports:
    """Log probabilities of one step, of the rows that asked: arrays that are evaluated with it, and
    read once for all rows."""

    def __init__(self, *arrays: mx.array) -> None:
        self.arrays = arrays
        self._read: list[Any] = []

    def row(self, place: int) -> tuple[float, list[tuple[int, float]]]:
        if not self._read:
            self._read = [np.array(each).tolist() for each in self.arrays]
        drawn, *alternatives = (each[place] for each in self._read)
        best = sorted(zip(*alternatives, strict=True), key=lambda pair: -pair[1])
        return drawn, best


class Report(NamedTuple):
    """One row of them."""

    all: Reports
    place: int

    @property
    def arrays(self) -> tuple[mx.array, ...]:
        return self.all.arrays

    def read(self) -> tuple[float, list[tuple[int, float]]]:
        """(of the drawn token, [(token, log probability) of the alternatives, best first])."""
        return self.all.row(self.place)


PER_ROW = (
    "uids",
    "tokens",
    "samplers",
    "logits_processors",
    "max_tokens",
    "stop_sequences",
    "_next_logprobs",
    "_token_context",
    "_num_tokens",
    "_matchers",
    "_is_told",
)
"""What is kept in a list with one item a row."""


class Batch(GenerationBatch):
    """`samplers` holds a RowPlan per row; the library moves them with their rows."""

    uids: list[int]
    tokens: list[list[int]]
    prompt_cache: list[Any]
    samplers: list[RowPlan]
    max_tokens: list[int]
    _next_tokens: mx.array
    _next_logprobs: list[Report | None]

    def __init__(self, *args: Any, mask_rows: MaskRows | None = None, **kwargs: Any) -> None:
        self.mask_rows = mask_rows
        self._groups: list[tuple[list[int], RowPlan]] | None = None
        super().__init__(*args, **kwargs)
        self._is_told = [False] * len(self)

    def extend(self, batch: Any) -> None:
        self._groups = None
        if len(self):
            self.prompt_cache = side_by_side(self.prompt_cache)
            batch.prompt_cache = side_by_side(batch.prompt_cache)
        super().extend(batch)
        self._is_told.extend(batch._is_told)

    def filter(self, keep: list[int]) -> None:
        self._groups = None
        super().filter(keep)
        self._is_told = [self._is_told[place] for place in keep]
        if len(keep) == 1:
            self.prompt_cache = alone(self.prompt_cache)

    @property
    def left_tokens(self) -> list[int]:
        """How many each row may still say, the one that is drawn already too."""
        pairs = zip(self.max_tokens, self._num_tokens, strict=True)
        return [most - said for most, said in pairs]

    def row(self, place: int, cache: list[Any]) -> "Batch":
        """One row as a batch of its own, over a cache in place of its own."""
        part = Batch.empty(self.model, self.fallback_sampler)
        for name in PER_ROW:
            setattr(part, name, [getattr(self, name)[place]])
        part.prompt_cache = cache
        part._next_tokens = part._current_tokens = self._next_tokens[place : place + 1]
        part._current_logprobs = [None]
        return part

    # -- what rows say ----------------------------------------------------------------------------

    def first(self) -> list[Any]:
        """The first token of each row that has said nothing yet: told before the next step is
        made ready."""
        new = [place for place, said in enumerate(self._num_tokens) if not said]
        if not new:
            return []
        tokens: list[int] = np.array(self._next_tokens).tolist()
        for place in new:
            self._is_told[place] = True
        return self._say([(place, tokens[place], self._next_logprobs[place]) for place in new])

    def next(self) -> list[Any]:
        """One step; what each row says by it, but for first tokens that are told already."""
        tokens, reports = self._step()
        told, self._is_told = self._is_told, [False] * len(self)
        return self._say([(i, tokens[i], reports[i]) for i in range(len(self)) if not told[i]])

    @property
    def is_told(self) -> bool:
        """Has the only row told the token that it reads next?"""
        return self._is_told[0]

    def _say(self, said: list[tuple[int, int, Report | None]]) -> list[Any]:
        """mlx-lm's Response of each (place, token, log probabilities); rows that end by it go."""
        responses, ended = [], []
        for place, token, report in said:
            response = self._response(place, token, report)
            responses.append(response)
            if response.finish_reason is not None:
                response.prompt_cache = self.extract_cache(place)
                response.all_tokens = self.tokens[place]
                ended.append(place)
        if ended:
            self.filter([place for place in range(len(self)) if place not in ended])
        return responses

    def _response(self, place: int, token: int, report: Report | None) -> Any:
        self._num_tokens[place] += 1
        reason = "length" if self._num_tokens[place] >= self.max_tokens[place] else None
        if self._matchers[place].advance(token):
            reason = "stop"
        return self.Response(self.uids[place], token, report, reason, None, None)

    def take(self, read: list[int], reports: list[Report | None], drawn: mx.array) -> list[Any]:
        """The only row has read several tokens at once: those that hold become its text, one
        Response each, and the rest leaves its cache.

        Args:
            read: the tokens that hold; the first of them was drawn before.
            reports, drawn: behind each token that was fed, held or not.
        """
        known = [self._next_logprobs[0], *reports]
        responses: list[Any] = []
        for token, report in zip(read, known, strict=False):
            responses.append(self._response(0, token, report))
            if responses[-1].finish_reason is not None:
                break
        kept = len(responses)
        for layer in self.prompt_cache:
            layer.trim(len(reports) - kept)
        self.tokens[0] += read[:kept]
        plan = self.samplers[0]
        plan.position, plan.has_begun = plan.position + kept, True
        self._next_tokens, self._next_logprobs = drawn[kept - 1 : kept], [reports[kept - 1]]
        last = responses[-1]
        if last.finish_reason is not None:
            last.prompt_cache, last.all_tokens = self.extract_cache(0), self.tokens[0]
            self.filter([])
        return responses

    # -- a step -----------------------------------------------------------------------------------

    def _step(self) -> tuple[list[int], list[Report | None]]:
        self._current_tokens, self._current_logprobs = self._next_tokens, self._next_logprobs
        inputs = self._current_tokens
        plans: list[RowPlan] = self.samplers
        logits = self.model(inputs[:, None], cache=self.prompt_cache)[:, -1, :]
        if any(plan.matcher for plan in plans):
            logits = self._constrain(logits, inputs, plans)
        contexts: list[mx.array] = []
        if any(plan.processors for plan in plans):
            logits = self._process(logits, inputs, plans, contexts)
        sampled = self._draw(logits, plans)
        reports = self.report(logits, sampled, plans)
        self._next_tokens, self._next_logprobs = sampled, reports
        arrays = next((report.arrays for report in reports if report), ())
        mx.async_eval(sampled, arrays, contexts)
        # Only now wait for the step before: the device computes this one meanwhile.
        mx.eval(inputs)
        tokens: list[int] = np.array(inputs).tolist()
        for row, token in zip(self.tokens, tokens, strict=True):
            row.append(token)
        for plan in plans:
            plan.position += 1
            plan.has_begun = True
        return tokens, self._current_logprobs

    def _constrain(self, logits: mx.array, inputs: mx.array, plans: list[RowPlan]) -> mx.array:
        """Grammar masks. The forward pass is started first; the masks are made while it runs."""
        mx.async_eval(logits)
        tokens: list[int] = np.array(inputs).tolist()
        rows = [i for i, plan in enumerate(plans) if plan.matcher is not None]
        bits = np.full((len(rows), (logits.shape[-1] + 31) // 32), -1, np.int32)
        for place, i in enumerate(rows):
            matcher = plans[i].matcher
            assert matcher is not None
            if plans[i].has_begun:  # the first input is the prompt's last token
                matcher.consume(tokens[i])
            matcher.fill(bits[place])
        assert self.mask_rows is not None
        return self.mask_rows(logits, bits, rows)

    def _process(
        self, logits: mx.array, inputs: mx.array, plans: list[RowPlan], contexts: list[mx.array]
    ) -> mx.array:
        """Penalties and biases, row by row: few requests have any."""
        done = []
        for i, plan in enumerate(plans):
            row = logits[i : i + 1]
            if plan.processors:
                context = self._token_context[i].update_and_fetch(inputs[i : i + 1])
                contexts.append(context)
                for processor in plan.processors:
                    row = processor(context, row)
            done.append(row)
        return mx.concatenate(done, axis=0)

    def _draw(self, logits: mx.array, plans: list[RowPlan]) -> mx.array:
        """Tokens of all rows."""
        if self._groups is None:
            self._groups = group_rows(plans)
        if len(self._groups) == 1:
            return draw(logits, plans)
        parts, order = [], []
        for rows, _ in self._groups:
            parts.append(draw(logits[mx.array(rows)], [plans[i] for i in rows]))
            order.extend(rows)
        back = sorted(range(len(order)), key=order.__getitem__)
        return mx.concatenate(parts)[mx.array(back)]

    def report(
        self, logits: mx.array, sampled: mx.array, plans: list[RowPlan]
    ) -> list[Report | None]:
        """Of each row that asked for log probabilities."""
        rows = [i for i, plan in enumerate(plans) if plan.logprobs >= 0]
        reports: list[Report | None] = [None] * len(plans)
        if not rows:
            return reports
        values = logits[mx.array(rows)]
        values = values - mx.logsumexp(values, axis=-1, keepdims=True)
        drawn = mx.take_along_axis(values, sampled[mx.array(rows)][:, None], axis=-1)[:, 0]
        most = max(plans[i].logprobs for i in rows)
        found = Reports(drawn)
        if most:
            ids = mx.argpartition(-values, kth=most - 1, axis=-1)[:, :most]
            found = Reports(drawn, ids, mx.take_along_axis(values, ids, axis=-1))
        for place, i in enumerate(rows):
            reports[i] = Report(found, place)
        return reports


def never_used(logprobs: mx.array) -> mx.array:
    """The library wants a sampler; every row brings its RowPlan."""
    return mx.argmax(logprobs, axis=-1)
