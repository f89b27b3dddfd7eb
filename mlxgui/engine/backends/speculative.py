"""A small model guesses ahead for a row that is alone; the model checks its guesses in one pass.

The model draws its own token at every position, as it does without guesses, and a guess is accepted
where it is that token. So the text is the one it would have been, greedy or seeded; a row without a
seed gets one of its own (`RowPlan`), and its text is distributed as before.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.utils
import numpy as np
from mlx_lm.models.cache import make_prompt_cache
from msgspec import structs

from mlxgui.engine.backends.batch import Batch
from mlxgui.engine.backends.drawing import RowPlan, draw
from mlxgui.engine.backends.loading import embedding_rows, logits_width, read_weights
from mlxgui.engine.backends.pace import Pace
from mlxgui.engine.backends.refusals import Refusals, cannot_draft
from mlxgui.engine.cache import arrays
from mlxgui.engine.errors import BadRequest, LoadFailed, Unsupported
from mlxgui.engine.spec import LoadOptions
from mlxgui.engine.types import GenerationRequest

log = logging.getLogger("worker.speculative")

PARAM = "draft_model"
MOST_DRAFT_TOKENS = 16
DEFAULT_DRAFT_TOKENS = 3
FOLLOW_TOKENS = 512
"""The draft model reads so much of a prompt between two tokens of the answer."""


class Draft:
    """A loaded draft model, and where it stands: behind `length` tokens of row `uid`."""

    def __init__(self, path: str, model: Any, most_token: int) -> None:
        self.path = path
        self.model = model
        self.rows = embedding_rows(model)
        width = logits_width(model, Path(path).name)
        self.width = min(width, most_token)
        """It may guess only tokens that the model has an embedding for."""
        self.forget()

    def forget(self) -> None:
        self.cache = make_prompt_cache(self.model)
        self.uid = -1
        self.tokens: list[int] = []

    def follow(self, uid: int, tokens: list[int]) -> bool:
        """Read what is new in these tokens, some of it; True: all of them are read."""
        if uid != self.uid:
            self.uid = uid
            self._back_to(_shared(self.tokens, tokens))
        new = tokens[len(self.tokens) : len(self.tokens) + FOLLOW_TOKENS]
        if new and max(new) >= self.rows:
            raise ValueError(f"token {max(new)} is unknown to the draft model")
        if new:
            self.model(mx.array([new]), cache=self.cache)
            mx.eval([layer.state for layer in self.cache])
            self.tokens += new
        return len(self.tokens) == len(tokens)

    def _back_to(self, length: int) -> None:
        extra = len(self.tokens) - length
        if extra:
            for layer in self.cache:
                layer.trim(extra)
            self.tokens = self.tokens[:length]

    def guess(self, first: mx.array, plan: RowPlan, count: int) -> list[mx.array]:
        """So many tokens behind `first`, lazily, drawn with the keys that the model will use."""
        own = RowPlan(plan.sampling, self.width, position=plan.position)
        token, guesses = first, []
        for _ in range(count):
            logits = self.model(token[None], cache=self.cache)[:, -1, : self.width]
            token = draw(logits, [own])
            own.position += 1
            guesses.append(token)
        return guesses

    def settle(self, fed: list[int], kept: int, count: int) -> None:
        """Of the tokens fed to the model, `kept` stay; this one has read all but the last guess."""
        stay = min(kept, count)
        for layer in self.cache:
            layer.trim(count - stay)
        self.tokens += fed[:stay]


def _shared(ours: list[int], theirs: list[int]) -> int:
    most = min(len(ours), len(theirs))
    differs = np.flatnonzero(np.array(ours[:most]) != np.array(theirs[:most]))
    return int(differs[0]) if differs.size else most


class Speculator:
    """Takes the steps of a row that is alone and has a draft model.

    Args:
        model: the model that checks.
        tokenizer: its TokenizerWrapper.
        options: may name a draft model for every request. Raises LoadFailed if it cannot draft.
    """

    def __init__(self, model: Any, tokenizer: Any, options: LoadOptions) -> None:
        self.model = model
        self.options = options
        self.tokenizer = tokenizer
        self.rows = embedding_rows(model)
        self.can_trim = arrays.is_always_trimmable(make_prompt_cache(model))
        self.draft: Draft | None = None
        self.pace = Pace()
        self.drafted_tokens = self.accepted_tokens = 0
        self.hold: Callable[[str], None] = lambda path: None
        """Keeps memory for this draft model, "" for none. Raises BadRequest where there is none."""
        self._refused = Refusals()
        self._is_loaded = False
        if options.draft_path:
            try:
                self.check(options.draft_path)
                self.use(options.draft_path)
            except BadRequest as error:
                raise LoadFailed(f"{error.message} (draft_model)") from error
        self._is_loaded = True

    # -- the draft model --------------------------------------------------------------------------

    def asked(self, request: GenerationRequest) -> GenerationRequest:
        """The request with its draft model: its own, or the one this model was loaded with. On any
        thread. Raises BadRequest, Unsupported."""
        most = MOST_DRAFT_TOKENS
        if not 0 <= request.draft_tokens <= most:
            raise BadRequest(f"num_draft_tokens may be 1 to {most}.", param="num_draft_tokens")
        path = request.draft_path
        if path:
            self.check(path)
        elif self.options.draft_path and not self._refused.why(self.options.draft_path):
            path = self.options.draft_path
        count = request.draft_tokens or self.options.draft_tokens or DEFAULT_DRAFT_TOKENS
        return structs.replace(request, draft_path=path, draft_tokens=min(count, most))

    def notes(self, request: GenerationRequest, asked: GenerationRequest) -> list[str]:
        """What a request and what became of it in `asked` leave to say."""
        is_idle = request.draft_tokens and not asked.draft_path
        return ["num_draft_tokens changes nothing without a draft_model"] if is_idle else []

    def check(self, path: str) -> None:
        """May this model draft? On any thread. Raises BadRequest, Unsupported for draft_model."""
        if not self.can_trim:
            raise Unsupported(
                "A draft model needs a model whose cache can be cut back token by token; this"
                " one's cannot (it has a sliding window or a state). Leave draft_model out.",
                param=PARAM,
            )
        if (why := self._refused.why(path)) is None:
            why = self._refused.note(path, cannot_draft(self.tokenizer, path))
        if why:
            raise BadRequest(why, param=PARAM)

    def use(self, path: str) -> None:
        """Load it, in place of another one; "" needs none. Raises BadRequest. On the mlx thread."""
        if not path or (self.draft is not None and self.draft.path == path):
            return
        try:
            self._load(path)
        except BadRequest as error:
            self.hold("")
            if not self._is_loaded or path != self.options.draft_path:
                raise
            # The request did not ask for it: it goes on without.
            log.warning("the draft model %s is left out: %s", path, error.message)

    def _load(self, path: str) -> None:
        self.draft = None
        mx.clear_cache()
        self.hold(path)
        try:
            model = mlx_lm.utils.load_model(Path(path).resolve(strict=True), lazy=True)[0]
            read_weights(model, lambda fraction: None)
            draft = Draft(path, model, self.rows)
            can_trim = arrays.is_always_trimmable(draft.cache)
        except Exception as error:
            log.exception("the draft model %s failed", path)
            why = self._refused.note(path, f"The draft model could not be loaded: {error}")
            raise BadRequest(why, param=PARAM) from error
        if not can_trim:
            why = "The draft model's cache cannot be cut back; choose another."
            raise Unsupported(self._refused.note(path, why), param=PARAM)
        self.draft, self.pace = draft, Pace()

    def give_up(self, why: str) -> None:
        """Guesses are only there to save time: a draft model that fails is not asked again."""
        assert self.draft is not None
        log.warning("the draft model %s failed and is left out: %s", self.draft.path, why)
        self._refused.note(self.draft.path, f"The draft model failed: {why}")
        self.draft = None
        self.hold("")

    def forget(self) -> None:
        """After a failed step its arrays cannot be trusted either."""
        if self.draft is not None:
            self.draft.forget()

    def stats(self) -> dict[str, Any]:
        return {
            "draft_model": Path(self.draft.path).name if self.draft else "",
            "drafted_tokens": self.drafted_tokens,
            "accepted_tokens": self.accepted_tokens,
            **self.pace.stats(),
        }

    # -- steps ------------------------------------------------------------------------------------

    def next(self, batch: Batch, room: int) -> list[Any]:
        """The next tokens of the only row: one, or as many as were guessed right and one more.

        Args:
            room: tokens that may be added to the batch's cache.
        """
        if batch.is_told:
            return batch.next()
        started = time.perf_counter()
        plan = batch.samplers[0]
        count = min(plan.draft_tokens, batch.left_tokens[0] - 1, room - 1)
        if count > 0 and self._is_ready(batch, plan):
            responses = self._ahead(batch, plan, count)
            if responses is not None:
                self.pace.saw_round(time.perf_counter() - started, len(responses))
                return responses
        started = time.perf_counter()
        responses = batch.next()
        self.pace.saw_step(time.perf_counter() - started)
        return responses

    def _is_ready(self, batch: Batch, plan: RowPlan) -> bool:
        """Is the draft model worth asking, and behind all that the model has read?"""
        draft = self.draft
        if draft is None or draft.path != plan.draft or not plan.is_free or self.pace.is_off:
            return False
        try:
            return draft.follow(batch.uids[0], batch.tokens[0])
        except Exception as error:
            self.give_up(str(error))
            return False

    def _ahead(self, batch: Batch, plan: RowPlan, count: int) -> list[Any] | None:
        """One round: guess, check, keep what holds. None: the draft model failed."""
        draft = self.draft
        assert draft is not None
        first = batch._next_tokens
        try:
            guesses = draft.guess(first, plan, count)
            mx.async_eval(guesses)
        except Exception as error:
            self.give_up(str(error))
            return None
        plans = [plan.at(plan.position + i) for i in range(count + 1)]
        try:
            fed = mx.concatenate([first, *[guess.astype(first.dtype) for guess in guesses]])
            logits = batch.model(fed[None], cache=batch.prompt_cache)[0]
            drawn = draw(logits, plans)
            reports = batch.report(logits, drawn, plans)
            mx.eval(fed, drawn, [a for report in reports if report for a in report.arrays])
        except Exception as error:
            # Whose fault it was is not known; replayed requests go on without a draft model.
            self.give_up(str(error))
            raise
        inputs: list[int] = np.array(fed).tolist()
        tokens: list[int] = np.array(drawn).tolist()
        accepted = next((i for i in range(count) if inputs[i + 1] != tokens[i]), count)
        responses = batch.take(inputs[: accepted + 1], reports, drawn)
        kept = len(responses)
        draft.settle(inputs, kept, count)
        self._count(plan, count, kept - 1)
        return responses

    def _count(self, plan: RowPlan, drafted: int, accepted: int) -> None:
        plan.drafted += drafted
        plan.accepted += accepted
        self.drafted_tokens += drafted
        self.accepted_tokens += accepted
