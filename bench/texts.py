"""Prompts of a given length, different from each other from their first words on."""

import random
from pathlib import Path

WORDS = (
    "model server memory prompt token cache answer page file folder turn batch weight layer "
    "number small large quick slow open close read write start end load keep leave ask tell"
)


class Texts:
    """Measured with the model's own tokenizer."""

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))

    def of(self, tokens: int, seed: object) -> str:
        """A text of about so many tokens; the same for the same seed."""
        dice = random.Random(str(seed))
        text = f"{seed}:"
        while True:
            missing = tokens - len(self._tokenizer.encode(text).ids)
            if missing <= 0:
                return text
            text += " " + " ".join(dice.choices(WORDS.split(), k=max(1, missing // 4)))
