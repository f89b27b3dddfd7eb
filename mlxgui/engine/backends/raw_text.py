"""Text that goes on from a prompt, as it stands: mlx-lm's detokenizers drop its first space."""

from typing import Any

_SPACES = ("Ġ", "▁", " ")
"""How vocabularies write a space at a token's beginning: byte-level BPE, SentencePiece, plain."""


class RawText:
    """Args:
    tokenizer: mlx-lm's TokenizerWrapper.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._inner = tokenizer.detokenizer
        self._has_begun = False
        self._lead = ""

    def add_token(self, token: int) -> None:
        if not self._has_begun:
            self._has_begun = True
            piece = self._tokenizer.convert_ids_to_tokens(token)
            self._lead = " " if str(piece).startswith(_SPACES) else ""
        self._inner.add_token(token)

    def finalize(self) -> None:
        self._inner.finalize()

    @property
    def last_segment(self) -> str:
        """What was added since it was last asked for."""
        text = str(self._inner.last_segment)
        if self._lead and text:
            text, self._lead = self._lead + text.removeprefix(self._lead), ""
        return text
