"""How well documents answer a query: cross-encoders with one label, and Qwen3 rerankers that say
“yes” or “no”.

The Qwen3 prompt is the one on its model card (Qwen/Qwen3-Reranker-0.6B).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_vlm.reranker import RerankerKind, reranker_kind
from mlx_vlm.reranker_loader import load_reranker

from mlxgui.engine.backends.batches import BatchBackend, Item, Texts, attention, padded
from mlxgui.engine.backends.embedding import max_tokens
from mlxgui.engine.backends.loading import embedding_rows, no_numbers
from mlxgui.engine.backends.turns import Row
from mlxgui.engine.errors import ContextOverflow, EngineError, LoadFailed, Unsupported
from mlxgui.engine.tasks import Ranked, RerankRequest
from mlxgui.engine.types import Event

MAX_PAIR_TOKENS = 8192
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class RerankBackend(BatchBackend):
    takes = RerankRequest
    words = "a reranking model; it answers at /v1/rerank"

    def open(self, folder: Path) -> dict[str, Any]:
        config = json.loads((folder / "config.json").read_text())
        self.kind = reranker_kind(config)
        if self.kind == RerankerKind.GENERATIVE_VL:
            raise LoadFailed(
                f"“{self.spec.name}” ranks pictures; only rerankers of texts are served. Use a"
                " Qwen3-Reranker or a BERT cross-encoder."
            )
        self.model, processor = load_reranker(str(folder))
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.vocabulary = embedding_rows(self.model)
        known = max_tokens(folder, self.tokenizer, self.spec.context_tokens)
        self.max_tokens = min(known, MAX_PAIR_TOKENS)
        self.answers = [self._token(word) for word in ("yes", "no")] if self._is_generative else []
        self._check_numbers()
        return {"max_tokens": self.max_tokens, "instructions": self._is_generative}

    @property
    def _is_generative(self) -> bool:
        return bool(self.kind == RerankerKind.GENERATIVE_TEXT)

    def _token(self, word: str) -> int:
        tokens = self._ids(word)
        if len(tokens) != 1 or tokens[0] >= self.vocabulary:
            raise LoadFailed(f"The tokenizer of “{self.spec.name}” has no one token for “{word}”.")
        return tokens[0]

    def _check_numbers(self) -> None:
        if not np.isfinite(self._scores([Item(0, [0, 0], [0, 0])])).all():
            raise no_numbers(self.spec.name)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    # -- prompts --------------------------------------------------------------------------------

    def check(self, request: RerankRequest) -> Texts:
        if request.instruction and not self._is_generative:
            raise Unsupported(
                f"“{self.spec.name}” takes no instruction; leave it out.", param="instruction"
            )
        make = self._prompts(request) if self._is_generative else self._pairs(request)
        items, cut = [], 0
        for index, document in enumerate(request.documents):
            item, is_cut = make(index, document)
            if max(item.tokens) >= self.vocabulary:
                raise EngineError("The tokenizer knows more tokens than the model.")
            items.append(item)
            cut += is_cut
        notes = [f"{cut} documents were cut to fit into {self.max_tokens} tokens"] if cut else []
        total = sum(len(item.tokens) for item in items)
        return Texts(request=request, items=items, prompt_tokens=total, notes=notes)

    def _pairs(self, request: RerankRequest) -> Callable[[int, str], tuple[Item, bool]]:
        tokenizer, most = self.tokenizer, self.max_tokens
        self._check_query(len(tokenizer(request.query, verbose=False)["input_ids"]) + 1)

        def make(index: int, document: str) -> tuple[Item, bool]:
            found = tokenizer(request.query, document, verbose=False)
            is_cut = len(found["input_ids"]) > most
            if is_cut:
                kept = {"truncation": "only_second", "max_length": most}
                found = tokenizer(request.query, document, **kept)
            types = list(found.get("token_type_ids", []))
            return Item(index, list(found["input_ids"]), types), is_cut

        return make

    def _prompts(self, request: RerankRequest) -> Callable[[int, str], tuple[Item, bool]]:
        task = request.instruction or INSTRUCTION
        before = f"{BEFORE}<Instruct>: {task}\n<Query>: {request.query}\n<Document>: "
        head, tail = self._ids(before), self._ids(AFTER)
        room = self.max_tokens - len(head) - len(tail)
        self._check_query(len(head) + len(tail) + 1)

        def make(index: int, document: str) -> tuple[Item, bool]:
            body = self._ids(document)
            return Item(index, head + body[:room] + tail), len(body) > room

        return make

    def _check_query(self, needed_tokens: int) -> None:
        if needed_tokens >= self.max_tokens:
            raise ContextOverflow(
                f"The query takes {needed_tokens} tokens; with a document this model reads"
                f" {self.max_tokens}. Shorten the query.",
                param="query",
            )

    # -- scores ---------------------------------------------------------------------------------

    def compute(self, items: Sequence[Item], rows: Sequence[Row]) -> list[Event]:
        scores = self._scores(items)
        if not np.isfinite(scores).all():
            raise no_numbers(self.spec.name)
        return [Ranked(item.index, float(score)) for item, score in zip(items, scores, strict=True)]

    def _scores(self, items: Sequence[Item]) -> np.ndarray:
        """0 to 1 for each item."""
        lists = [item.tokens for item in items]
        ids = mx.array(padded(lists, self.tokenizer.pad_token_id or 0))
        if self._is_generative:
            return np.array(self._yes_or_no(ids, lists).astype(mx.float32))
        extra = {}
        if all(item.types for item in items):
            extra["token_type_ids"] = mx.array(padded([item.types for item in items], 0))
        found = self.model(ids, attention_mask=mx.array(attention(lists)), **extra)
        logits = getattr(found, "logits", found)
        return np.array(mx.sigmoid(logits.reshape(len(items))).astype(mx.float32))

    def _yes_or_no(self, ids: mx.array, lists: Sequence[list[int]]) -> mx.array:
        """Padding is on the right, where a causal model does not see it from the last token."""
        language = self.model.language_model
        hidden = language.model(ids)
        last = hidden[mx.arange(len(lists)), mx.array([len(one) - 1 for one in lists])]
        head = getattr(language, "lm_head", None)
        logits = head(last) if head is not None else language.model.embed_tokens.as_linear(last)
        yes, no = self.answers
        return mx.sigmoid(logits[:, yes] - logits[:, no])


def make() -> RerankBackend:
    return RerankBackend()
