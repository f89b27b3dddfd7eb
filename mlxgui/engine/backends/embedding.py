"""Sentence vectors over mlx-vlm's encoders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_vlm.embedding_loader import load_embedding_model
from mlx_vlm.models.pooling import read_pooling_config
from mlx_vlm.utils import load_processor

from mlxgui.engine.backends.batches import BatchBackend, Item, Texts, attention, padded
from mlxgui.engine.backends.loading import embedding_rows, no_numbers
from mlxgui.engine.backends.turns import Row
from mlxgui.engine.errors import BadRequest, ContextOverflow
from mlxgui.engine.tasks import Embedded, EmbedRequest
from mlxgui.engine.types import Event

UNKNOWN_TOKENS = 512
"""The context where neither config nor tokenizer says one."""
NO_LIMIT_TOKENS = 1_000_000
"""Tokenizers without a limit say a number beyond this."""


class EmbeddingBackend(BatchBackend):
    takes = EmbedRequest
    words = "an embedding model; it answers at /v1/embeddings"

    def open(self, folder: Path) -> dict[str, Any]:
        self.model = load_embedding_model(folder)
        self.model.pooling_config = read_pooling_config(folder)
        processor = load_processor(folder, add_detokenizer=False)
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.vocabulary = embedding_rows(self.model)
        self.max_tokens = max_tokens(folder, self.tokenizer, self.spec.context_tokens)
        vector = self._vectors([[0]])[0]
        if not np.isfinite(vector).all():
            raise no_numbers(self.spec.name)
        self.dimensions = len(vector)
        return {"dimensions": self.dimensions, "max_tokens": self.max_tokens}

    def check(self, request: EmbedRequest) -> Texts:
        if request.dimensions > self.dimensions:
            most = self.dimensions
            raise BadRequest(f"dimensions may be at most {most}.", param="dimensions")
        notes: list[str] = []
        items = [
            Item(index, self._tokens(given, f"input[{index}]", request.truncate, notes))
            for index, given in enumerate(request.inputs)
        ]
        total = sum(len(item.tokens) for item in items)
        return Texts(request=request, items=items, prompt_tokens=total, notes=notes)

    def _tokens(self, given: str | list[int], name: str, cut: bool, notes: list[str]) -> list[int]:
        tokens = given
        if isinstance(given, str):
            tokens = list(self.tokenizer(given, truncation=False, verbose=False)["input_ids"])
        assert isinstance(tokens, list)
        if not all(0 <= token < self.vocabulary for token in tokens):
            raise BadRequest(
                f"{name} has token ids that this model does not know (0 to {self.vocabulary - 1})."
                " Send text, or tokens of the model's own tokenizer.",
                param=name,
            )
        if len(tokens) <= self.max_tokens:
            return tokens
        if not cut:
            raise ContextOverflow(
                f"{name} has {len(tokens)} tokens; this model reads {self.max_tokens}. Send shorter"
                " texts, or truncate: true.",
                param=name,
            )
        notes.append(f"{name} was cut to {self.max_tokens} tokens")
        if isinstance(given, str):  # the tokenizer keeps the marks at both ends
            short = self.tokenizer(given, truncation=True, max_length=self.max_tokens)
            return list(short["input_ids"])
        return tokens[: self.max_tokens]

    def compute(self, items: Sequence[Item], rows: Sequence[Row]) -> list[Event]:
        vectors = self._vectors([item.tokens for item in items])
        if not np.isfinite(vectors).all():
            raise no_numbers(self.spec.name)
        return [
            Embedded(item.index, shortened(vector, row.prepared.request.dimensions).tobytes())
            for item, row, vector in zip(items, rows, vectors, strict=True)
        ]

    def _vectors(self, lists: Sequence[list[int]]) -> np.ndarray:
        """(items, dimensions) float32 of unit length."""
        ids = mx.array(padded(lists, self.tokenizer.pad_token_id or 0))
        found = self.model(ids, attention_mask=mx.array(attention(lists))).text_embeds
        return np.array(found.astype(mx.float32))


def shortened(vector: np.ndarray, dimensions: int) -> np.ndarray:
    """The leading numbers, of unit length again; little-endian float32."""
    kept = vector[: dimensions or None].astype("<f4")
    return kept / max(float(np.linalg.norm(kept)), 1e-12)


def max_tokens(folder: Path, tokenizer: Any, context_tokens: int) -> int:
    """What the model can read: the least of what its files say."""
    limits = [context_tokens]
    limit = getattr(tokenizer, "model_max_length", 0)
    limits.append(int(limit) if limit and limit < NO_LIMIT_TOKENS else 0)
    config = json.loads((folder / "config.json").read_text())
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        # RoBERTa counts positions from behind the padding token's.
        limits.append(positions - 2 if "roberta" in str(config.get("model_type")) else positions)
    sentence = folder / "sentence_bert_config.json"
    if sentence.is_file():
        limits.append(int(json.loads(sentence.read_text()).get("max_seq_length") or 0))
    return min((limit for limit in limits if limit > 0), default=UNKNOWN_TOKENS)


def make() -> EmbeddingBackend:
    return EmbeddingBackend()
