"""Text models over mlx-lm: continuous batching, prompt cache, sampling, typed events."""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.utils

from mlxgui.engine.backends import Output, sampling
from mlxgui.engine.backends.choices import ChoiceMaker
from mlxgui.engine.backends.constraints import Constraints
from mlxgui.engine.backends.entry import Entry, Prefilled
from mlxgui.engine.backends.grammar import mask
from mlxgui.engine.backends.kept import cache_use, open_prompt_cache
from mlxgui.engine.backends.loading import (
    bound_buffer_cache,
    embedding_rows,
    leave_wired_limit_alone,
    logits_width,
    prefill_speed,
    read_weights,
)
from mlxgui.engine.backends.prompts import Prompt, Prompter
from mlxgui.engine.backends.rows import Choice, Row, entry_for, logprobs_event
from mlxgui.engine.backends.scheduler import Scheduler
from mlxgui.engine.cache.entries import Kind
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import FinishReason, GenerationRequest, Progress, Started, Warned

log = logging.getLogger("worker.text")

MAX_FAILURES = 3
"""A request that was in flight at so many failed steps is given up, whoever caused them."""


class TextBackend:
    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.by_uid: dict[int, tuple[Row, Choice]] = {}
        self._early: list[Output] = []
        # After a failed step: requests that wait to be tried, and the one that is on trial.
        self._suspects: deque[Row] = deque()
        self._on_trial: Row | None = None

    # -- loading ----------------------------------------------------------------------------------

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        self.spec = spec
        if not spec.options.use_gpu:
            mx.set_default_device(mx.cpu)
        if not spec.options.raise_wired_limit:
            leave_wired_limit_alone()
        try:
            # A Path that exists is never looked up on a hub.
            folder = Path(spec.path).resolve(strict=True)
            self.model, self.tokenizer = mlx_lm.utils.load(
                str(folder), adapter_path=spec.adapter_path or None, lazy=True
            )[:2]
            bound_buffer_cache(read_weights(self.model, report))
        except Exception as error:
            log.exception("loading %s failed", spec.path)
            raise LoadFailed(f"“{spec.name}” could not be loaded: {_one_line(error)}") from error
        rows = embedding_rows(self.model)
        self.vocabulary = logits_width(self.model, spec.name)
        self.prompter = Prompter(self.tokenizer, rows, spec.context_tokens)
        self.prompt_cache = open_prompt_cache(spec, folder, self.tokenizer)
        self._tokens_per_second = prefill_speed(self.model)
        self.eos = [[int(token)] for token in sorted(self.tokenizer.eos_token_ids)]
        ends = [token for (token,) in self.eos]
        self.constraints = Constraints(self.tokenizer, self.vocabulary, ends)
        self.choices = ChoiceMaker(self.tokenizer, self.vocabulary, self.eos, self.constraints)
        self._new_scheduler()
        return {
            "thinking": bool(self.tokenizer.has_thinking),
            "tools": bool(self.tokenizer.has_tool_calling),
            "chat_template": bool(self.tokenizer.has_chat_template),
            "vocabulary": self.vocabulary,
            "active_bytes": int(mx.get_active_memory()),
        }

    def _new_scheduler(self) -> None:
        options = self.spec.options
        self.scheduler = Scheduler(
            self.model,
            max_rows=options.max_parallel,
            max_chunk_tokens=options.prefill_step_tokens,
            max_kv_tokens=options.max_kv_tokens,
            on_segment=self._store_segment,
            mask_rows=mask,
            tokens_per_second=self._tokens_per_second,
        )

    # -- requests ---------------------------------------------------------------------------------

    def prepare(self, request: GenerationRequest) -> Prompt:
        sampling.check(request.sampling, self.vocabulary)
        if request.n > self.spec.options.max_parallel:
            most = self.spec.options.max_parallel
            raise BadRequest(f"n may be at most {most} with this model.", param="n")
        request = self.constraints.shown(request)
        prompt = self.prompter.prompt(request)
        prompt.grammar = self.constraints.compiled(request)
        return prompt

    def add(self, id: int, prepared: Prompt) -> None:
        choices = [self.choices.make(prepared, index) for index in range(prepared.request.n)]
        row = self.rows[id] = Row(id, prepared, choices, added_at=time.perf_counter())
        self._insert(row)
        self._early.extend((id, Warned(note)) for note in prepared.notes)
        self._early.append((id, Started(len(prepared.tokens), row.cache.cached_tokens, row.cache)))

    def _insert(self, row: Row) -> None:
        """Into the scheduler, behind the longest prefix that the prompt cache holds."""
        prompt = row.prompt
        open_choices = [choice for choice in row.choices if not choice.is_finished]
        # The last prompt token is what decoding starts from, so it is not looked up.
        found = self.prompt_cache.fetch(prompt.tokens, prompt.layout)
        row.cache = cache_use(found, self.tokenizer)
        row.entry = entry_for(row, open_choices, found, self.eos)
        self.scheduler.add(row.entry)
        for choice, uid in zip(open_choices, row.entry.uids, strict=True):
            choice.uid = uid
            self.by_uid[uid] = (row, choice)

    def cancel(self, id: int) -> None:
        row = self.rows.pop(id, None)
        if row is None:
            return
        if row in self._suspects:
            self._suspects.remove(row)
        else:
            self._remove(row, [choice.uid for choice in row.choices if not choice.is_finished])
        if row is self._on_trial:
            self._on_trial = None

    def _remove(self, row: Row, uids: list[int]) -> None:
        """Out of the batch; what was computed for them stays in the prompt cache."""
        assert row.entry is not None
        for uid in uids:
            self.by_uid.pop(uid, None)
        for cache, tokens in self.scheduler.remove(row.entry, uids):
            self.prompt_cache.store(tokens, cache, "assistant")

    @property
    def is_busy(self) -> bool:
        return bool(self.rows or self._early)

    # -- steps ------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        out, self._early = self._early, []
        if out or not self.rows:
            return out  # what is known already need not wait for a prefill
        if self._suspects and self._on_trial is None:
            self._on_trial = self._suspects.popleft()
            self._insert(self._on_trial)
        try:
            prefilled, decoded = self.scheduler.step()
            for report in prefilled:
                self._on_prefill(report, out)
            for response in decoded:
                self._on_token(response, out)
        except Exception as error:
            log.exception("a step failed; %d requests in flight", len(self.rows))
            self._recover(error, out)
        return out

    def _on_prefill(self, report: Prefilled, out: list[Output]) -> None:
        row = self.rows[report.entry.id]
        total = len(row.prompt.tokens)
        if not report.is_ready:
            processed = report.processed_tokens + row.cache.cached_tokens
            out.append((row.id, Progress(processed, total)))

    def _store_segment(self, entry: Entry, kind: Kind) -> None:
        """A segment was prefilled: what a later request may share ends here."""
        if kind == "assistant":  # the reply's own entry comes when it is whole
            return
        row = self.rows[entry.id]
        read = row.prompt.tokens[: row.cache.cached_tokens + entry.done_tokens]
        if self.prompt_cache.reached(read, kind):
            cache, tokens = self.scheduler.cache_of(entry)
            self.prompt_cache.store(tokens, cache, kind)

    def _on_token(self, response: Any, out: list[Output]) -> None:
        row, choice = self.by_uid[response.uid]
        if not row.first_token_at:
            row.first_token_at = time.perf_counter()
        if row is self._on_trial:
            self._on_trial = None  # a whole step went well with it
        reason = response.finish_reason
        if response.logprobs is not None and reason != "stop":
            probs = logprobs_event(choice, response.token, response.logprobs, self.tokenizer)
            out.append((row.id, probs))
        for event in choice.take(response.token, reason == "stop", reason is not None):
            out.append((row.id, event))
        if reason is not None:
            tokens, cache = list(response.all_tokens), response.prompt_cache
            self.prompt_cache.store(tokens, cache, "assistant")
            del self.by_uid[choice.uid]
            matcher = choice.plan.matcher
            if matcher is not None and matcher.failure:
                self._give_up(row, RuntimeError(f"no token fits ({matcher.failure})"), out)
                return
            self._finish(row, choice, reason, out)
        elif choice.splitter.is_stopped:
            self._remove(row, [choice.uid])
            self._finish(row, choice, "stop", out)

    def _finish(self, row: Row, choice: Choice, reason: FinishReason, out: list[Output]) -> None:
        out.extend((row.id, event) for event in choice.finish(reason))
        if row.is_finished:
            out.append((row.id, row.done()))
            del self.rows[row.id]

    def _recover(self, error: Exception, out: list[Output]) -> None:
        """After an exception neither the batch nor its arrays can be trusted: make a new one and
        replay every request from its tokens so far.

        Who caused it is not known, so they come back one at a time. When a step fails with one on
        trial, that one is the culprit; those that passed go on at once.
        """
        culprit, self._on_trial = self._on_trial, None
        survivors = [row for row in self.rows.values() if row not in self._suspects]
        self.by_uid.clear()
        self._forget_arrays()
        if culprit is not None:
            survivors.remove(culprit)
            self._give_up(culprit, error, out)
            for row in survivors:
                self._insert(row)
            return
        for row in survivors:
            row.failures += 1
            if row.failures > MAX_FAILURES or (len(row.choices) > 1 and row.first_token_at):
                # Choices share one prefill; once they differ there is no one prompt to replay.
                self._give_up(row, error, out)
            else:
                self._suspects.append(row)

    def _give_up(self, row: Row, error: Exception, out: list[Output]) -> None:
        del self.rows[row.id]
        left = [choice.uid for choice in row.choices if choice.uid in self.by_uid]
        if left:
            self._remove(row, left)
        out.append((row.id, EngineError(f"The model failed on this request: {_one_line(error)}")))

    def _forget_arrays(self) -> None:
        self.prompt_cache.reset()
        self._new_scheduler()
        gc.collect()
        mx.clear_cache()

    def idle(self) -> bool:
        """Nothing runs: hand prompts to the disk. True = there is more of that to do soon."""
        try:
            return self.prompt_cache.idle()
        except Exception:
            log.exception("the prompt cache failed and begins anew")
            self.prompt_cache.reset()
            return False

    def close(self, seconds: float) -> None:
        self.prompt_cache.close(seconds)

    # -- questions --------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "stats":
            return {
                "in_flight": len(self.rows),
                "active_bytes": int(mx.get_active_memory()),
                "peak_bytes": int(mx.get_peak_memory()),
                "prompt_cache": self.prompt_cache.stats(),
            }
        if name == "reset_cache":
            self.prompt_cache.reset(disk=bool(arguments.get("disk")))
            return self.prompt_cache.stats()
        raise BadRequest(f"A text model has no {name}.")


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def make() -> TextBackend:
    return TextBackend()
