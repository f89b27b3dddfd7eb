"""The state of one request in the text backend: its choices, their text, their times."""

import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mlx_lm.generate import StopSequences
from msgspec import Struct

from mlxgui.engine.backends.batch import Report
from mlxgui.engine.backends.drawing import RowPlan
from mlxgui.engine.backends.entry import Entry
from mlxgui.engine.backends.prompts import Prompt, after_prefix
from mlxgui.engine.cache.prompt_cache import Found
from mlxgui.engine.output.splitter import Splitter
from mlxgui.engine.types import (
    CacheUse,
    Done,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Timing,
    TokenProb,
    Usage,
)

UNLIKELY = -9999.0
"""OpenAI's number for a log probability that is none: JSON has no infinity."""


class Choice(Struct, eq=False):
    """One answer. `generated` holds its tokens, the one that ended it too; `held` the log
    probabilities of those whose text may yet turn out to be a stop string, by where it begins."""

    index: int
    plan: RowPlan
    splitter: Splitter
    detokenizer: Any
    generated: list[int] = []
    reasoning_tokens: int = 0
    uid: int = -1
    is_finished: bool = False
    held: list[tuple[int, TokenProb]] = []
    written: int = 0
    """Characters handed to the splitter."""

    def take(
        self, token: int, ends_turn: bool, is_last: bool, prob: TokenProb | None = None
    ) -> list[Event]:
        """The events of one more token. The token that ends the turn is no text."""
        self.generated.append(token)
        if self.splitter.is_thinking:
            self.reasoning_tokens += 1
        if not ends_turn:
            self.detokenizer.add_token(token)
        if is_last:
            self.detokenizer.finalize()
        text, start = self.detokenizer.last_segment, self.written
        self.written += len(text)
        if prob is not None and not ends_turn:
            # Half a letter of the token before may come with this one's own text.
            if text.endswith(prob.text):
                start = self.written - len(prob.text)
            self.held.append((start, prob))
        events = self.splitter.feed(text)
        return [*self._probs(self.written - self.splitter.undecided), *events]

    def _probs(self, end: int) -> list[Event]:
        """Those of the tokens that begin before `end`; of what a stop string holds there are
        none."""
        if not self.held:
            return []
        found = [prob for start, prob in self.held if start < end]
        self.held = [] if self.splitter.is_stopped else self.held[len(found) :]
        return [Logprobs(found, self.index)] if found else []

    def finish(self, reason: FinishReason) -> list[Event]:
        self.is_finished = True
        probs = self._probs(self.written + 1)
        rest = self.splitter.finish(stopped=reason == "stop")
        reason = self.splitter.reason(reason)
        return [*probs, *rest, Finished(reason, self.splitter.stop_text, self.index)]


class Row(Struct, eq=False):
    """One request in flight."""

    id: int
    prompt: Prompt
    choices: list[Choice]
    added_at: float = 0.0
    entry: Entry | None = None
    cache: CacheUse = CacheUse()
    first_token_at: float = 0.0
    failures: int = 0

    @property
    def is_finished(self) -> bool:
        return all(choice.is_finished for choice in self.choices)

    def done(self) -> Done:
        now = time.perf_counter()
        started = self.first_token_at or now
        usage = Usage(
            prompt_tokens=len(self.prompt.tokens),
            completion_tokens=sum(len(choice.generated) for choice in self.choices),
            cached_tokens=self.cache.cached_tokens,
            reasoning_tokens=sum(choice.reasoning_tokens for choice in self.choices),
            drafted_tokens=sum(choice.plan.drafted for choice in self.choices),
            accepted_tokens=sum(choice.plan.accepted for choice in self.choices),
        )
        return Done(usage, Timing(0.0, started - self.added_at, now - started))


TEXTS_KEPT = 8192


def token_texts(tokenizer: Any) -> Callable[[int], str]:
    """The text of a single token; `logprobs` asks for the same few ones again and again."""
    return lru_cache(TEXTS_KEPT)(lambda token: str(tokenizer.decode([token])))


def token_prob(
    choice: Choice, token: int, report: Report, text_of: Callable[[int], str]
) -> TokenProb:
    """What OpenAI calls `logprobs.content` of one token."""
    drawn, alternatives = report.read()
    best = [
        TokenProb(text_of(other), other, value)
        for other, value in alternatives[: choice.plan.logprobs]
        if value > -math.inf  # a grammar or a bias forbids it: it is no alternative
    ]
    return TokenProb(text_of(token), token, max(drawn, UNLIKELY), best)


def entry_for(row: Row, choices: list[Choice], found: Found, eos: list[list[int]]) -> Entry:
    """What the scheduler needs of these choices, behind the prefix that was found.

    In a replay the answer so far belongs to the prompt, and each choice stands behind it.
    """
    prompt = row.prompt
    segments, kinds = after_prefix(prompt, found.cached_tokens)
    last, generated = prompt.tokens[-1], choices[0].generated
    if generated:
        whole = [last, *generated]
        segments, kinds, last = [*segments, whole[:-1]], [*kinds, "assistant"], whole[-1]
    for choice in choices:
        choice.plan.position, choice.plan.has_begun = len(choice.generated), False
        if choice.plan.matcher is not None:
            choice.plan.matcher.replay(choice.generated)
    return Entry(
        id=row.id,
        segments=segments,
        kinds=kinds,
        last=last,
        plans=[choice.plan for choice in choices],
        max_tokens=[prompt.max_tokens - len(choice.generated) for choice in choices],
        stop=StopSequences(eos if not prompt.request.ignore_eos or prompt.grammar else []),
        cache=found.cache,
        prefix=prompt.tokens[: found.cached_tokens],
        priority=prompt.request.priority,
    )
