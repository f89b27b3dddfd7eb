"""Text models over mlx-lm: continuous batching, prompt cache, sampling, typed events."""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx_lm.generate
import mlx_lm.utils
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator, TextStateMachine, make_text_state_machine
from mlx_lm.models.cache import LRUPromptCache
from msgspec import Struct

from mlxgui.engine.backends import Output, sampling
from mlxgui.engine.backends.prompts import Prompt, Prompter, as_template_tool
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed
from mlxgui.engine.output.splitter import Splitter
from mlxgui.engine.types import (
    Done,
    Event,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelSpec,
    Progress,
    Started,
    Timing,
    Usage,
)

log = logging.getLogger("worker.text")

PROMPT_CACHE_ENTRIES = 256
MAX_FAILURES = 3
"""A request that was in flight at so many failed steps is given up, whoever caused them."""


def leave_wired_limit_alone() -> None:
    """mlx-lm raises Metal's wired limit in several places; that is tied to macOS kernel panics
    (ml-explore/mlx#3186). Every caller looks the name up in its own module."""

    def unchanged() -> None:
        return None

    mlx_lm.utils.maybe_set_recommended_wired_limit = unchanged
    mlx_lm.generate.maybe_set_recommended_wired_limit = unchanged


class Row(Struct):
    """One request in flight."""

    id: int
    prompt: Prompt
    splitter: Splitter
    detokenizer: Any
    sampler: sampling.Sampler
    added_at: float
    uid: int = -1
    cached_tokens: int = 0
    segment_kinds: list[str] = []
    generated: list[int] = []
    reasoning_tokens: int = 0
    prefilled_at: float = 0.0
    first_token_at: float = 0.0
    failures: int = 0


class TextBackend:
    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.by_uid: dict[int, Row] = {}
        self._early: list[Output] = []
        # After a failed step: requests that wait to be tried, and the one that is on trial.
        self._suspects: deque[Row] = deque()
        self._on_trial: Row | None = None

    # -- loading ----------------------------------------------------------------------------------

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        self.spec = spec
        if not spec.options.raise_wired_limit:
            leave_wired_limit_alone()
        try:
            # A Path that exists is never looked up on a hub.
            folder = Path(spec.path).resolve(strict=True)
            self.model, self.tokenizer = mlx_lm.utils.load(
                str(folder), adapter_path=spec.adapter_path or None, lazy=True
            )[:2]
            read_weights(self.model, report)
        except Exception as error:
            log.exception("loading %s failed", spec.path)
            raise LoadFailed(f"“{spec.name}” could not be loaded: {_one_line(error)}") from error
        rows = embedding_rows(self.model)
        self.vocabulary = int(self._logits_width())
        self.prompter = Prompter(self.tokenizer, rows, spec.context_tokens)
        self.prompt_cache = LRUPromptCache(PROMPT_CACHE_ENTRIES, spec.options.prompt_cache_bytes)
        self.eos = [[int(token)] for token in sorted(self.tokenizer.eos_token_ids)]
        self._machines: dict[tuple[str, ...], TextStateMachine] = {}
        self._new_generator()
        return {
            "thinking": bool(self.tokenizer.has_thinking),
            "tools": bool(self.tokenizer.has_tool_calling),
            "chat_template": bool(self.tokenizer.has_chat_template),
            "vocabulary": self.vocabulary,
            "active_bytes": int(mx.get_active_memory()),
        }

    def _logits_width(self) -> int:
        """A first forward pass: finds the vocabulary and NaN weights, and compiles kernels."""
        logits = self.model(mx.array([[0]]))[0, -1]
        if bool(mx.any(mx.isnan(logits)).item()):
            raise LoadFailed(
                f"“{self.spec.name}” computes no numbers (NaN): its weights are damaged."
            )
        return int(logits.shape[-1])

    def _new_generator(self) -> None:
        self.generator = BatchGenerator(
            self.model,
            stop_tokens=self.eos,
            completion_batch_size=self.spec.options.max_parallel,
            prefill_batch_size=min(8, self.spec.options.max_parallel),
            prefill_step_size=self.spec.options.prefill_step_tokens,
            max_kv_size=self.spec.options.max_kv_tokens or None,
            stream=mx.default_stream(mx.default_device()),
        )

    # -- requests ---------------------------------------------------------------------------------

    def prepare(self, request: GenerationRequest) -> Prompt:
        sampling.check(request.sampling, self.vocabulary)
        return self.prompter.prompt(request)

    def add(self, id: int, prepared: Prompt) -> None:
        request = prepared.request
        row = Row(
            id=id,
            prompt=prepared,
            splitter=self._splitter(prepared),
            detokenizer=self.tokenizer.detokenizer,
            sampler=sampling.sampler_for(request.sampling, self.vocabulary),
            added_at=time.perf_counter(),
        )
        self.rows[id] = row
        self._insert(row)
        self._early.append((id, Started(len(prepared.tokens), row.cached_tokens)))

    def _splitter(self, prompt: Prompt) -> Splitter:
        request = prompt.request
        stop = tuple(sorted(set(request.stop)))
        if stop not in self._machines:
            if len(self._machines) > 64:
                self._machines.clear()
            self._machines[stop] = machine_with_stops(self.tokenizer, stop)
        initial = "reasoning" if prompt.starts_in_thinking else "normal"
        if request.messages and self.tokenizer.response_initial_state:
            initial = self.tokenizer.response_initial_state
        return Splitter(
            self._machines[stop],
            initial=initial,
            stop=list(stop),
            tool_parser=self.tokenizer.tool_parser,
            tools=[as_template_tool(tool) for tool in request.tools],
        )

    def _insert(self, row: Row) -> None:
        """Into the batch, behind the longest prefix that the prompt cache holds."""
        prompt = row.prompt
        # At least one token must be left to run, so the last is not looked up.
        cache, rest = self.prompt_cache.fetch_nearest_cache("", prompt.tokens[:-1])
        row.cached_tokens = len(prompt.tokens) - 1 - len(rest) if cache is not None else 0
        segments, row.segment_kinds = after_prefix(prompt, row.cached_tokens)
        if row.generated:  # a replay: its answer so far belongs to the prompt now
            segments[-1] = segments[-1] + row.generated
        if isinstance(row.sampler, sampling.Seeded):
            row.sampler.position = len(row.generated)
        (row.uid,) = self.generator.insert_segments(
            [segments],
            [prompt.max_tokens - len(row.generated)],
            caches=[cache],
            all_tokens=[prompt.tokens[: row.cached_tokens]],
            samplers=[row.sampler],
            logits_processors=[sampling.processors_for(prompt.request.sampling)],
        )
        self.by_uid[row.uid] = row

    def cancel(self, id: int) -> None:
        row = self.rows.pop(id, None)
        if row is None:
            return
        if row in self._suspects:
            self._suspects.remove(row)
        elif self.by_uid.pop(row.uid, None):
            self.generator.remove([row.uid])
        if row is self._on_trial:
            self._on_trial = None

    @property
    def is_busy(self) -> bool:
        return bool(self.rows or self._early)

    # -- steps ------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        out, self._early = self._early, []
        if not self.rows:
            return out
        if self._suspects and self._on_trial is None:
            self._on_trial = self._suspects.popleft()
            self._insert(self._on_trial)
        try:
            prefilled, generated = self.generator.next()
            for response in prefilled:
                self._on_prefill(response, out)
            for response in generated:
                self._on_token(response, out)
        except Exception as error:
            log.exception("a step failed; %d requests in flight", len(self.rows))
            self._recover(error, out)
        return out

    def _on_prefill(self, response: Any, out: list[Output]) -> None:
        row = self.by_uid.get(response.uid)
        if row is None:
            return
        processed, total = response.progress
        if response.end_of_prompt:
            row.prefilled_at = time.perf_counter()
        elif total > self.spec.options.prefill_step_tokens:
            cached = row.cached_tokens
            out.append((row.id, Progress(processed + cached, total + cached)))
        if response.end_of_segment and not response.end_of_prompt and row.segment_kinds:
            kind = row.segment_kinds.pop(0)
            if kind != "assistant":  # the reply's own entry comes when it is whole
                cache, tokens = self.generator.extract_cache([row.uid])[row.uid]
                self.prompt_cache.insert_cache("", list(tokens), cache, cache_type=kind)

    def _on_token(self, response: Any, out: list[Output]) -> None:
        row = self.by_uid.get(response.uid)
        if row is None:
            return
        if not row.first_token_at:
            row.first_token_at = time.perf_counter()
        if row is self._on_trial:
            self._on_trial = None  # a whole step went well with it
        row.generated.append(response.token)
        if row.splitter.is_thinking:
            row.reasoning_tokens += 1
        detokenizer = row.detokenizer
        if response.finish_reason != "stop":  # the token that ends the turn is no text
            detokenizer.add_token(response.token)
        if response.finish_reason is not None:
            detokenizer.finalize()
        out.extend((row.id, event) for event in row.splitter.feed(detokenizer.last_segment))
        if row.splitter.is_stopped and response.finish_reason is None:
            self.generator.remove([row.uid])
            self._finish(row, "stop", out)
        elif response.finish_reason is not None:
            self.prompt_cache.insert_cache("", list(response.all_tokens), response.prompt_cache)
            self._finish(row, response.finish_reason, out)

    def _finish(self, row: Row, reason: FinishReason, out: list[Output]) -> None:
        rest = row.splitter.finish(stopped=reason == "stop")
        if row.splitter.calls:
            reason = "tool_calls"
        elif row.splitter.is_stopped:
            reason = "stop"
        events: list[Event] = [*rest, Finished(reason, row.splitter.stop_text)]
        out.extend((row.id, event) for event in events)
        out.append((row.id, Done(self._usage(row), self._timing(row))))
        del self.rows[row.id], self.by_uid[row.uid]

    def _usage(self, row: Row) -> Usage:
        return Usage(
            prompt_tokens=len(row.prompt.tokens),
            completion_tokens=len(row.generated),
            cached_tokens=row.cached_tokens,
            reasoning_tokens=row.reasoning_tokens,
        )

    def _timing(self, row: Row) -> Timing:
        now = time.perf_counter()
        started = row.first_token_at or now
        return Timing(prefill_seconds=started - row.added_at, decode_seconds=now - started)

    def _recover(self, error: Exception, out: list[Output]) -> None:
        """After an exception neither the generator nor its arrays can be trusted: make a new one
        and replay every request from its tokens so far.

        Who caused it is not known, so they come back one at a time. When a step fails with one on
        trial, that one is the culprit; those that passed go on at once.
        """
        culprit, self._on_trial = self._on_trial, None
        survivors = list(self.by_uid.values())
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
            if row.failures > MAX_FAILURES:
                self._give_up(row, error, out)
            else:
                self._suspects.append(row)

    def _give_up(self, row: Row, error: Exception, out: list[Output]) -> None:
        del self.rows[row.id]
        out.append((row.id, EngineError(f"The model failed on this request: {_one_line(error)}")))

    def _forget_arrays(self) -> None:
        self.prompt_cache = LRUPromptCache(
            PROMPT_CACHE_ENTRIES, self.spec.options.prompt_cache_bytes
        )
        self.generator.close()
        self._new_generator()
        gc.collect()
        mx.clear_cache()

    # -- questions --------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "stats":
            return {
                "in_flight": len(self.rows),
                "active_bytes": int(mx.get_active_memory()),
                "peak_bytes": int(mx.get_peak_memory()),
                "prompt_cache": self.prompt_cache.stats_by_type(),
            }
        raise BadRequest(f"A text model has no {name}.")


def read_weights(model: nn.Module, report: Callable[[float], None]) -> None:
    """Evaluate lazily loaded parameters piece by piece, reporting the fraction of bytes read."""
    arrays = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays) or 1
    done, reported = 0, 0.0
    for array in arrays:
        mx.eval(array)
        done += array.nbytes
        if done / total - reported >= 0.02:
            reported = done / total
            report(reported)


def embedding_rows(model: nn.Module) -> int:
    """Rows of the token embedding: the widest one the model has. Raises LoadFailed without one."""
    kinds = (nn.Embedding, nn.QuantizedEmbedding)
    rows = [int(m.weight.shape[0]) for _, m in model.named_modules() if isinstance(m, kinds)]
    if not rows:
        raise LoadFailed("The model has no token embedding.")
    return max(rows)


def machine_with_stops(tokenizer: Any, stop: tuple[str, ...]) -> TextStateMachine:
    """mlx-lm's states for this tokenizer; a stop string leads to the end from each of them."""
    machine = make_text_state_machine(tokenizer)
    if not stop:
        return machine
    plain = make_text_state_machine(tokenizer, list(stop))
    # The library leads stop words back to their own state; `None` is its state for "ended".
    for state, (trie, targets) in plain._states.items():
        known = len(machine._states[state][1]) if state in machine._states else 0
        plain._states[state] = (trie, [*targets[:known], *([None] * (len(targets) - known))])
    return plain


def after_prefix(prompt: Prompt, cached: int) -> tuple[list[list[int]], list[str]]:
    """The segments and their kinds that remain behind the first `cached` tokens."""
    segments, kinds = [], []
    for segment, kind in zip(prompt.segments, prompt.segment_kinds, strict=True):
        if cached >= len(segment):
            cached -= len(segment)
            continue
        segments.append(segment[cached:])
        kinds.append(kind)
        cached = 0
    return segments, kinds


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def make() -> TextBackend:
    return TextBackend()
