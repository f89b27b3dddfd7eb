"""What requests may take of a worker's memory: refused, shortened or made to wait beforehand.

The pool says how much the whole worker may take. What the weights, the process and a prefill chunk
leave of it is for the KV caches of rows. A row is counted as long as it can become: its prompt and
all that it may write.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import mlx.core as mx
from mlx_lm.models.cache import (
    ChunkedKVCache,
    ConcatenateKVCache,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from mlxgui.engine.backends.entry import Entry
from mlxgui.engine.backends.limits import set_limits
from mlxgui.engine.backends.prompts import Prompt
from mlxgui.engine.cache.arrays import layers_of
from mlxgui.engine.errors import BadRequest, ContextOverflow, NotEnoughMemory
from mlxgui.engine.kv import KvShape
from mlxgui.engine.memory import GIB
from mlxgui.engine.model_files import weights_bytes
from mlxgui.engine.plan import (
    LONGEST_CONTEXT_TOKENS,
    Plan,
    draft_bytes,
    largest_context,
    plan_of,
)
from mlxgui.engine.spec import ModelSpec

SMALLEST_ROW_TOKENS = 512
"""So long a row is let in however short the memory: the model was loaded to be used."""


class Budget:
    """Args:
    model: loaded, as mlx-lm's cache functions take it.
    """

    def __init__(self, model: Any, spec: ModelSpec) -> None:
        self.options = spec.options
        self.shape = measured_shape(model)
        self._spec = spec
        self._on_processor = mx.default_device().type == mx.DeviceType.cpu
        self.plan = plan_of(spec, on_processor=self._on_processor)
        self._whole_plan = self.plan
        self.draft_bytes = self.plan.draft_bytes
        """Of the draft model that is loaded: its weights and its row."""
        drafts = weights_bytes(Path(self.options.draft_path)) if self.draft_bytes else 0
        self.weights_bytes = int(mx.get_active_memory()) - drafts
        self.kv_bytes = 0
        """For the rows of all requests together; 0 = no bound."""
        self._taken: dict[int, int] = {}
        self.set(spec.options.memory_bytes)

    def set(self, memory_bytes: int) -> None:
        """The worker may take so much from now on, beside its prompt cache; 0 = no bound."""
        self._memory_bytes = memory_bytes
        self.plan = self._plan_within(memory_bytes)
        arrays = memory_bytes - self.plan.process_bytes
        self.kv_bytes = max(self._least, self._left(self.draft_bytes)) if memory_bytes else 0
        all_arrays = arrays + self.options.prompt_cache_bytes if memory_bytes else 0
        weights = self.weights_bytes + self.draft_bytes
        set_limits(all_arrays, weights, wires=self.options.raise_wired_limit)

    def _plan_within(self, memory_bytes: int) -> Plan:
        """Of the longest row for which it fits: shorter rows need less for reading, too."""
        plan, spec, slow = self._whole_plan, self._spec, self._on_processor
        # Weights may take more than their files say.
        room = memory_bytes - max(0, self.weights_bytes - plan.weights_bytes)
        if not memory_bytes or room >= plan.needed_bytes:
            return plan
        tokens = max(SMALLEST_ROW_TOKENS, largest_context(spec, room, on_processor=slow))
        return plan_of(spec, context_tokens=tokens, on_processor=slow)

    def hold_draft(self, path: str) -> None:
        """Memory for another draft model in place of the present one; "" = for none.

        Raises BadRequest for draft_model where the weights of both leave too little for a row.
        """
        size = draft_bytes(Path(path), self._whole_plan.context_tokens) if path else 0
        if self._memory_bytes and self._left(size) < self._least:
            fitting = max(0, self._left(0) - self._least)
            raise BadRequest(
                f"The draft model takes {_gb(size)} GB, but {_gb(fitting)} GB of memory are left"
                " for one. Leave draft_model out, choose a smaller one, or unload other models.",
                param="draft_model",
            )
        self.draft_bytes = size
        self.set(self._memory_bytes)

    @property
    def _least(self) -> int:
        return self.row_bytes(SMALLEST_ROW_TOKENS)

    def _left(self, drafts_bytes: int) -> int:
        """For rows, beside a draft model of that size."""
        plan = self.plan
        working = plan.process_bytes + plan.transient_bytes + drafts_bytes
        return self._memory_bytes - self.weights_bytes - working

    def row_bytes(self, tokens: int) -> int:
        options = self.options
        return self.shape.row_bytes(
            tokens, options.kv_bits, options.kv_group_size, options.kv_start_tokens
        )

    # -- before a request is taken ----------------------------------------------------------------

    def admitted(self, prompt: Prompt) -> Prompt:
        """The prompt, with as many tokens for its answer as there is room for.

        Raises ContextOverflow, BadRequest or NotEnoughMemory, which name the bound that is in the
        way, the numbers, and the largest setting that would fit. Nothing is computed before that.
        """
        self._check_length(prompt)
        request = prompt.request
        if not self.kv_bytes:
            return prompt
        length = len(prompt.tokens)
        if self.row_bytes(length + prompt.max_tokens) * request.n <= self.kv_bytes:
            return prompt
        most = self._most_tokens(self.kv_bytes // request.n)
        if most > length and (request.may_end_early or not request.max_tokens):
            prompt.max_tokens = most - length
            return prompt
        self._refuse(prompt, most)

    def _refuse(self, prompt: Prompt, most: int) -> NoReturn:
        """`most`: the tokens that a row of this request could have."""
        length, count, left = len(prompt.tokens), prompt.request.n, _gb(self.kv_bytes)
        alone = self._most_tokens(self.kv_bytes)
        if alone <= length:
            raise NotEnoughMemory(
                f"The prompt has {length:,} tokens, but {left} GB of memory are left for KV caches:"
                f" enough for {alone:,} tokens. Shorten the conversation, unload other models, or"
                " use a stronger KV quantisation."
            )
        if most <= length:
            fitting = self.kv_bytes // max(1, self.row_bytes(length + 1))
            raise BadRequest(
                f"There is memory for n up to {fitting} with a prompt of {length:,} tokens.",
                param="n",
            )
        raise ContextOverflow(
            f"{left} GB of memory are left for KV caches: too little for {length:,} prompt tokens"
            f" and max_tokens {prompt.max_tokens:,}, {count} times. max_tokens may be up to"
            f" {most - length:,}.",
            param="max_tokens",
        )

    def _check_length(self, prompt: Prompt) -> None:
        """Against max_kv_size, which bounds prompt and answer together."""
        bound, length, request = self.options.max_kv_tokens, len(prompt.tokens), prompt.request
        if not bound or length + prompt.max_tokens <= bound:
            return
        if length >= bound:
            raise ContextOverflow(
                f"The prompt has {length:,} tokens, but max_kv_size bounds the KV cache to"
                f" {bound:,}. Shorten the conversation, or raise max_kv_size for this model.",
                param="messages" if request.messages else "prompt",
            )
        if request.max_tokens and not request.may_end_early:
            raise ContextOverflow(
                f"max_kv_size bounds the KV cache to {bound:,} tokens, and the prompt has"
                f" {length:,}: max_tokens may be up to {bound - length:,}.",
                param="max_tokens",
            )
        prompt.max_tokens = bound - length

    def _most_tokens(self, room_bytes: int) -> int:
        options = self.options
        return self.shape.most_tokens(
            room_bytes,
            LONGEST_CONTEXT_TOKENS,
            bits=options.kv_bits,
            group=options.kv_group_size,
            start=options.kv_start_tokens,
        )

    # -- before it is computed --------------------------------------------------------------------

    def let_in(
        self, entries: list[Entry], waiting: list[Entry], uids: Iterable[int]
    ) -> list[Entry]:
        """Those of `entries` that may begin or go on now; the others wait until rows have ended.

        Args:
            entries: in the order of their turn. Nobody who has not begun overtakes one that waits
                for memory, or a long request would never have its turn.
            waiting: all that are not decoding yet.
            uids: of the rows that decode.
        """
        if not self.kv_bytes:
            return entries
        begun = [entry for entry in waiting if entry.batch is not None]
        present = {*uids, *(uid for entry in begun for uid in entry.uids)}
        self._taken = {uid: size for uid, size in self._taken.items() if uid in present}
        left = self.kv_bytes - sum(self._taken.values())
        may, blocked = [], False
        for entry in entries:
            if entry.batch is None:
                sizes = self._sizes(entry)
                total = sum(sizes.values())
                blocked = blocked or (total > left and bool(self._taken))
                if blocked:
                    continue
                self._taken |= sizes
                left -= total
            may.append(entry)
        return may

    def _sizes(self, entry: Entry) -> dict[int, int]:
        prompt = len(entry.prefix) + entry.left_tokens + 1
        lengths = zip(entry.uids, entry.max_tokens, strict=True)
        return {uid: self.row_bytes(prompt + most) for uid, most in lengths}

    def stats(self) -> dict[str, int]:
        return {"kv_budget_bytes": self.kv_bytes, "kv_promised_bytes": sum(self._taken.values())}


def measured_shape(model: Any) -> KvShape:
    """How its cache grows, from one that holds a single token."""
    cache = make_prompt_cache(model)
    model(mx.zeros((1, 1), mx.int32), cache=cache)
    mx.eval([layer.state for layer in cache])
    growing, state, number = 0, 0, 2
    windows: dict[int, int] = {}
    for layer in layers_of(cache):
        keys = getattr(layer, "keys", None)
        if keys is None:
            state += int(layer.nbytes)
            continue
        number = int(keys.itemsize)
        each = int(layer.nbytes) // int(keys.shape[-2])
        if isinstance(layer, RotatingKVCache):
            windows[layer.max_size] = windows.get(layer.max_size, 0) + each
        elif isinstance(layer, ChunkedKVCache):
            windows[layer.chunk_size] = windows.get(layer.chunk_size, 0) + each
        elif isinstance(layer, KVCache | ConcatenateKVCache):
            growing += each
        else:
            state += int(layer.nbytes)
    return KvShape(growing, tuple(windows.items()), state, number)


def _gb(size_bytes: int) -> str:
    """With three digits where there is little: bytes of small models count too."""
    return f"{size_bytes / GIB:.{2 if size_bytes >= GIB // 10 else 3}f}"
