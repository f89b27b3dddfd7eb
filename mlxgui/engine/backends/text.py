"""Text models over mlx-lm: continuous batching, prompt cache, sampling, typed events."""

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.utils

from mlxgui.engine.backends import Output, sampling
from mlxgui.engine.backends.budget import Budget
from mlxgui.engine.backends.choices import ChoiceMaker
from mlxgui.engine.backends.constraints import Constraints
from mlxgui.engine.backends.device import choose_device
from mlxgui.engine.backends.echo import Echoes
from mlxgui.engine.backends.entry import Entry, Prefilled
from mlxgui.engine.backends.grammar import mask
from mlxgui.engine.backends.kept import cache_use, open_prompt_cache
from mlxgui.engine.backends.loading import (
    embedding_rows,
    logits_width,
    prefill_speed,
    quantisation_for,
    read_weights,
)
from mlxgui.engine.backends.options import Abilities
from mlxgui.engine.backends.prompts import Prompt, Prompter
from mlxgui.engine.backends.questions import answer, facts_of
from mlxgui.engine.backends.recovery import Trials
from mlxgui.engine.backends.rest import Rest
from mlxgui.engine.backends.rows import Choice, Row, entry_for, token_prob, token_texts
from mlxgui.engine.backends.scheduler import Scheduler
from mlxgui.engine.backends.speculative import Speculator
from mlxgui.engine.backends.warm import WarmPrompts
from mlxgui.engine.cache.entries import Kind
from mlxgui.engine.errors import BadRequest, EngineError, LoadFailed, one_line
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import FinishReason, GenerationRequest, Progress, Started, Warned

log = logging.getLogger("worker.text")


class TextBackend:
    scheduler_type = Scheduler
    may_be_drafted = True

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.by_uid: dict[int, tuple[Row, Choice]] = {}
        self._early: list[Output] = []
        self.trials = Trials()
        self.rest = Rest()

    # -- loading ----------------------------------------------------------------------------------

    def load(self, spec: ModelSpec, report: Callable[[float], None]) -> dict[str, Any]:
        self.spec = spec
        choose_device(spec.options)
        try:
            # A Path that exists is never looked up on a hub.
            folder = Path(spec.path).resolve(strict=True)
            self.model, self.tokenizer = self.open_model(folder, spec)
            read_weights(self.model, report)
            self.weights_are_read()
        except Exception as error:
            log.exception("loading %s failed", spec.path)
            raise LoadFailed(f"“{spec.name}” could not be loaded: {one_line(error)}") from error
        rows = embedding_rows(self.model)
        self.vocabulary = logits_width(self.model, spec.name)
        self.token_text = token_texts(self.tokenizer)
        self.prompter = Prompter(self.tokenizer, rows, spec.context_tokens)
        self.echoes = Echoes(self.model, self.tokenizer)
        self.prompt_cache = open_prompt_cache(spec, folder, self.tokenizer)
        self._tokens_per_second = prefill_speed(self.model)
        self.eos = [[int(token)] for token in sorted(self.tokenizer.eos_token_ids)]
        self.constraints = Constraints(self.tokenizer, self.vocabulary, sum(self.eos, []))
        self.choices = ChoiceMaker(self.tokenizer, self.vocabulary, self.eos, self.constraints)
        self.spec, self.quantisation, self.kv_note = quantisation_for(self.model, self.spec)
        self.speculator = Speculator(self.model, self.tokenizer, spec.options)
        can_draft = self.may_be_drafted and self.speculator.can_trim
        self.abilities = Abilities(self.tokenizer, self.constraints, can_draft=can_draft)
        self.warm = WarmPrompts(spec.options.warm_prompts, self.tokenizer.has_chat_template)
        self.budget = Budget(self.model, self.spec)
        self.speculator.hold = self.budget.hold_draft
        self._new_scheduler()
        self.prompter.cuts_at_turns = not self.scheduler.can_cut
        self.constraints.warm_up()
        return facts_of(self)

    def open_model(self, folder: Path, spec: ModelSpec) -> tuple[Any, Any]:
        """Weights as yet unread, and mlx-lm's TokenizerWrapper."""
        trusted = spec.options.trust_remote_code
        return mlx_lm.utils.load(
            str(folder),
            {"trust_remote_code": trusted},
            adapter_path=spec.adapter_path or None,
            lazy=True,
            trust_remote_code=trusted,
        )[:2]

    def weights_are_read(self) -> None:
        """A first chance to run the model."""

    def _new_scheduler(self) -> None:
        options = self.spec.options
        self.scheduler = self.scheduler_type(
            self.model,
            max_rows=options.max_parallel,
            max_chunk_tokens=options.prefill_step_tokens,
            max_kv_tokens=options.max_kv_tokens,
            quantisation=self.quantisation,
            speculator=self.speculator,
            budget=self.budget,
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
        self.abilities.check(request)
        asked = self.speculator.asked(self.constraints.shown(request))
        prompt = self.budget.admitted(self.prompter.prompt(asked))
        prompt.notes += self.speculator.notes(request, asked)
        prompt.grammar = self.constraints.compiled(asked)
        return prompt

    def add(self, id: int, prepared: Prompt) -> None:
        self.rest.is_over()
        if not self.echoes.lets(id, prepared, self._early):
            return
        self.speculator.use(prepared.request.draft_path)
        choices = [self.choices.make(prepared, index) for index in range(prepared.request.n)]
        row = self.rows[id] = Row(id, prepared, choices, added_at=time.perf_counter())
        self._insert(row)
        self._early.extend((id, Warned(note)) for note in prepared.notes)
        self._early.append((id, Started(len(prepared.tokens), row.cache.cached_tokens, row.cache)))
        self._early.extend(self.echoes.said(id, prepared))

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
        self.echoes.cancel(id)
        row = self.rows.pop(id, None)
        if row is not None and not self.trials.leave(row):
            self._remove(row, [choice.uid for choice in row.choices if not choice.is_finished])

    def _remove(self, row: Row, uids: list[int]) -> None:
        """Out of the batch; what was computed for them stays in the prompt cache."""
        assert row.entry is not None
        for uid in uids:
            self.by_uid.pop(uid, None)
        for cache, tokens in self.scheduler.remove(row.entry, uids):
            self.prompt_cache.store(tokens, cache, "assistant")

    @property
    def is_busy(self) -> bool:
        return bool(self.rows or self._early or self.echoes.is_busy)

    @property
    def reads_next(self) -> bool:
        return self.scheduler.reads_next

    # -- steps ------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        if ready := self.echoes.step(self._early):
            self.add(*ready)
        out, self._early = self._early, []
        if out or not self.rows:
            return out  # what is known already need not wait for a prefill
        if tried := self.trials.next():
            self._insert(tried)
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
        if response.uid not in self.by_uid:
            return  # of several tokens of one step an earlier one ended it
        row, choice = self.by_uid[response.uid]
        if not row.first_token_at:
            row.first_token_at = time.perf_counter()
        self.trials.passed(row)
        reason = response.finish_reason
        prob = None
        if response.logprobs is not None:
            prob = token_prob(choice, response.token, response.logprobs, self.token_text)
        for event in choice.take(response.token, reason == "stop", reason is not None, prob):
            out.append((row.id, event))
        if reason is not None:
            tokens, cache = list(response.all_tokens), response.prompt_cache
            self.prompt_cache.store(tokens, cache, "assistant")
            del self.by_uid[choice.uid]
            matcher = choice.plan.matcher
            if matcher is not None and matcher.failure:
                self._give_up(row, row.prompt.grammar.gave_out(matcher.failure), out)
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
        replay every request from its tokens so far (recovery.py)."""
        given_up, going_on = self.trials.failed(list(self.rows.values()))
        self.by_uid.clear()
        self._forget_arrays()
        for row in given_up:
            self._give_up(row, error, out)
        for row in going_on:
            self._insert(row)

    def _give_up(self, row: Row, error: Exception, out: list[Output]) -> None:
        del self.rows[row.id]
        if left := [choice.uid for choice in row.choices if choice.uid in self.by_uid]:
            self._remove(row, left)
        said = f"The model failed on this request: {one_line(error)}"
        out.append((row.id, error if isinstance(error, EngineError) else EngineError(said)))

    def _forget_arrays(self) -> None:
        self.prompt_cache.reset()
        self.speculator.forget()
        self._new_scheduler()
        gc.collect()
        mx.clear_cache()

    def idle(self) -> bool:
        """Nothing runs: hand prompts to the disk, memory back. True = there is more to do soon."""
        try:
            if asked := self.warm.next():
                self.add(asked[0], self.prepare(asked[1]))
                return True
            return self.rest.is_short() or self.prompt_cache.idle()
        except Exception:
            log.exception("the prompt cache failed and begins anew")
            self.prompt_cache.reset()
            return False

    def close(self, seconds: float) -> None:
        self.prompt_cache.close(seconds)

    # -- questions --------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return answer(self, name, arguments)


def make() -> TextBackend:
    return TextBackend()
