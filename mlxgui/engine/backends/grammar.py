"""Constrained decoding with llguidance: which tokens may come next, as bits, then as a mask.

Plain mx operations, so it runs on CPU and Metal alike. How a batched step uses it so that the bits
are found while the model runs:

    logits = model(...)                      # (B, V), lazily
    mx.async_eval(logits)                    # the model starts on this step
    tokens = previous.tolist()               # waits for the tokens that the step before drew
    for row, matcher in constrained:
        matcher.consume(tokens[row])
        matcher.fill(bits[row])              # rows without a matcher keep all their bits set
    drawn = sample(mask(logits, bits)); mx.async_eval(drawn)

With no constrained row in the batch all of it is left out. A new row fills its bits before its
first token is drawn.
"""

import threading
from collections import OrderedDict
from typing import Any, Literal

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher, LLParserLimits

from mlxgui.engine.backends.grammar_text import source_of, why_it_gave_out, why_refused
from mlxgui.engine.backends.grammar_thought import Thought
from mlxgui.engine.backends.grammar_vocabulary import (
    Bits,
    Vocabulary,
    set_bits,
    vocabulary_of,
    words_for,
)
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.types import Constraint

Thinking = Literal["none", "may", "open"]
"""Whether a thought may come before the answer: not at all, if the model opens one, it is open."""

CACHED = 64
"""Compiled grammars kept per model."""
LIMITS = LLParserLimits(verbose_errors=False)
"""Otherwise the library's own: a compilation ends within some 0.3 s, a step within some 20 ms."""

# Data, not an operation: this module is imported on another thread than it is used on.
_SHIFTS = mx.array(np.arange(32, dtype=np.uint32))


class Grammars:
    """The grammars of one model. `compile` may be called on any thread.

    Args:
        tokenizer: mlx-lm's TokenizerWrapper.
        vocabulary: the width of the model's logits.
        eos_ids: every token that ends the turn.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, eos_ids: list[int]) -> None:
        self._source = tokenizer
        self._width = vocabulary
        self._eos = [int(token) for token in sorted(eos_ids) if token < vocabulary]
        self._known: Vocabulary | None = None
        self._compiled: OrderedDict[tuple[str, str], Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, constraint: Constraint, *, param: str = "response_format") -> "Compiled":
        """Raises BadRequest, or Unsupported for what cannot be enforced; both name `param`."""
        key = (constraint.kind, constraint.text)
        with self._lock:
            if key not in self._compiled:
                source = source_of(constraint, param)
                self._compiled[key] = Compiled(self._vocabulary(param), source, constraint, param)
                while len(self._compiled) > CACHED:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key]

    def warm(self) -> None:
        """Do now what the first constrained request would wait for: 1.3 s at 150,000 tokens."""
        self.compile(Constraint("json_object"))

    def bits(self, rows: int) -> Bits:
        """Room for so many rows; everything is allowed until `fill`."""
        return np.full((rows, words_for(self._width)), -1, np.int32)

    def is_special(self, token: int) -> bool:
        """Whether a grammar must name the token by its number, for its text would not match it."""
        with self._lock:
            return bool(self._vocabulary("tool_choice").tokenizer.is_special_token(token))

    def _vocabulary(self, param: str) -> Vocabulary:
        if self._known is None:
            self._known = vocabulary_of(self._source, self._width, self._eos, param)
        return self._known


class Compiled:
    """A grammar ready for use; `matcher` starts a row with it."""

    def __init__(
        self, vocabulary: Vocabulary, source: str, constraint: Constraint, param: str
    ) -> None:
        self.vocabulary = vocabulary
        self._constraint, self._param = constraint, param
        self._lock = threading.Lock()
        self._first = LLMatcher(vocabulary.tokenizer, source, log_level=0, limits=LIMITS)
        # Some limits show only when the first step is computed.
        if not self._first.is_error():
            self._first.compute_bitmask()
        if self._first.is_error():
            raise why_refused(self._first.get_error(), constraint, param)

    def matcher(self, thinking: Thinking = "none") -> "Matcher":
        return Matcher(self, thinking)

    def gave_out(self, failure: str) -> BadRequest:
        """What to say of a matcher that failed while the answer was written."""
        return why_it_gave_out(failure, self._constraint, self._param)

    def start(self) -> LLMatcher:
        with self._lock:
            return self._first.deep_copy()


class Matcher:
    """Where one row stands in its grammar. Its methods never raise; after a failure only the end of
    the turn is allowed, and `failure` says why."""

    def __init__(self, compiled: Compiled, thinking: Thinking = "none") -> None:
        self._compiled = compiled
        self._thinking = thinking
        self._known = compiled.vocabulary
        self._begin()

    def _begin(self) -> None:
        self._matcher = self._compiled.start()
        self._thought: Thought | None = None
        if self._thinking != "none" and self._known.think_end:
            self._thought = Thought(self._known, is_open=self._thinking == "open")
        self.failure = ""
        self.is_finished = False
        """Nothing but the end of the turn may come."""

    @property
    def is_free(self) -> bool:
        """Inside a thought: all is allowed but the end of the turn, which would leave no answer."""
        return self._thought is not None and self._thought.is_open

    @property
    def is_complete(self) -> bool:
        """Whether what was written so far satisfies the grammar."""
        return self._thought is None and not self.failure and bool(self._matcher.is_accepting())

    def consume(self, token: int) -> None:
        """The token that was drawn for this row."""
        if self.is_finished:
            return
        if self._thought is not None:
            taken = self._thought.takes(token)
            if self._thought.is_past:
                self._thought = None
            if taken:
                return
        try:
            self._matcher.consume_token(token)
        except Exception as error:  # e.g. a token beyond the tokenizer
            self._fail(str(error))
        self._look()

    def _look(self) -> None:
        if self._matcher.is_error():
            self._fail(self._matcher.get_error())
        elif self._matcher.is_stopped():
            self.is_finished = True

    def _fail(self, message: str) -> None:
        self.failure = self.failure or (message.strip().splitlines() or ["unknown"])[0][:300]
        self.is_finished = True

    def fill(self, row: Bits) -> None:
        """Write the tokens that may come next into a row of `Grammars.bits`."""
        if self.is_free:
            row[:] = self._known.all_but_end
            return
        if not self.is_finished:
            self._fill(row)
        if self.is_finished:
            row[:] = self._known.end_only

    def _fill(self, row: Bits) -> None:
        thought = self._thought
        if thought is not None and thought.expects is not None:
            row[:] = 0
            set_bits(row, (thought.expects,))
            return
        try:
            self._allowed(row)
        except Exception as error:
            self._fail(str(error))
        self._look()
        if thought is not None and not self.failure:
            set_bits(row, thought.also)
        if not self.is_finished and not row.any():
            self._fail("no token fits")

    def _allowed(self, row: Bits) -> None:
        words = words_for(self._known.tokenizer.vocab_size)
        if words == len(row):
            self._matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        else:  # the tokenizer knows more tokens than the model has logits
            whole = np.zeros(words, np.int32)
            self._matcher.unsafe_compute_mask_ptr(whole.ctypes.data, whole.nbytes)
            row[:] = whole[: len(row)]

    def replay(self, tokens: list[int]) -> None:
        """Stand behind these tokens, from the start, as after a failed step."""
        self._begin()
        for token in tokens:
            self.consume(token)

    def copy(self) -> "Matcher":
        """Another row that goes on from here by itself."""
        other = Matcher.__new__(Matcher)
        other.__dict__.update(self.__dict__)
        other._matcher = self._matcher.deep_copy()
        if self._thought is not None:
            other._thought = Thought.__new__(Thought)
            other._thought.__dict__.update(self._thought.__dict__)
        return other


def mask(logits: mx.array, bits: Bits, rows: list[int] | None = None) -> mx.array:
    """(B, V) logits with -inf where a bit is not set, in one operation for the whole batch.

    Args:
        bits: a row for each row of the logits; with `rows`, one for each of those only. The
            others are left as they are, as is a row whose bits are all set.
    """
    if rows is not None:
        every = np.full((logits.shape[0], bits.shape[1]), -1, np.int32)
        every[rows], bits = bits, every
    return _where(logits, mx.array(bits.view(np.uint32)))


@mx.compile
def _where(logits: mx.array, words: mx.array) -> mx.array:
    # One kernel once compiled: measured 5 times faster than the single operations.
    flags = ((words[..., None] >> _SHIFTS) & 1).reshape(words.shape[0], -1).astype(mx.bool_)
    return mx.where(flags[:, : logits.shape[-1]], logits, -mx.inf)
