"""What is the same for every grammar of a model: its tokens, as llguidance knows them, and bits."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from llguidance import LLTokenizer
from msgspec import Struct

from mlxgui.engine.errors import Unsupported

Bits = np.ndarray[Any, np.dtype[np.int32]]
"""One bit a token, 32 in a word; one row of words for each row of the batch."""


class Vocabulary(Struct, frozen=True):
    tokenizer: LLTokenizer
    width: int
    """Logits in a row; more than the tokenizer has where the embedding is padded."""
    end_only: Bits
    all_but_end: Bits
    think_start: tuple[int, ...]
    think_end: tuple[int, ...]
    blanks: frozenset[int]
    """Tokens that a model may put between its thought and its answer."""


def vocabulary_of(source: Any, width: int, eos: list[int], param: str) -> Vocabulary:
    if source.response_initial_state or not eos:
        raise Unsupported(
            "This model's way of writing its answers cannot be constrained.", param=param
        )
    tokenizer = _build(source, width, eos, param)
    end_only = _bits_of(width, eos)
    known = source.get_vocab().values()
    return Vocabulary(
        tokenizer=tokenizer,
        width=width,
        end_only=end_only,
        all_but_end=~end_only & _bits_of(width, (id for id in known if id < width)),
        think_start=tuple(source.think_start_tokens or ()),
        think_end=tuple(source.think_end_tokens or ()),
        blanks=_blanks(source),
    )


def _build(source: Any, width: int, eos: list[int], param: str) -> LLTokenizer:
    # Not at the top: it brings transformers, which the wrapper has loaded by now.
    from llguidance.hf import from_tokenizer

    try:
        return from_tokenizer(source._tokenizer, n_vocab=width, eos_token=eos)
    except ValueError as error:
        if "vocab size too small" not in str(error):
            raise Unsupported(
                "This model's tokenizer cannot be used with a constraint.", param=param
            ) from error
    return from_tokenizer(source._tokenizer, eos_token=eos)


def _blanks(source: Any) -> frozenset[int]:
    written = (source.encode(text, add_special_tokens=False) for text in ("\n", "\n\n"))
    return frozenset(tokens[0] for tokens in written if len(tokens) == 1)


def words_for(width: int) -> int:
    return -(-width // 32)


def _bits_of(width: int, tokens: Iterable[int]) -> Bits:
    flags = np.zeros(words_for(width) * 32, np.uint8)
    flags[list(tokens)] = 1
    return np.packbits(flags, bitorder="little").view(np.int32)


def set_bits(row: Bits, tokens: Iterable[int]) -> None:
    words = row.view(np.uint32)
    for token in tokens:
        words[token // 32] |= np.uint32(1 << (token % 32))
