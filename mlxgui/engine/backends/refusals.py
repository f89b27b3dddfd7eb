"""Why folders were refused as draft models, for as long as that can be relied on."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx_lm.utils
from msgspec import Struct

RETRY_SECONDS = 60.0
"""A failure may have been the moment's: short memory, a file that was being copied."""
UNKNOWN_SHARE = 0.02
"""Sizes of two vocabularies may differ by that much: padding, and a few added tokens."""

State = tuple[tuple[str, int, int], ...]
"""(name, bytes, time of the last change) of each file."""


class Verdict(Struct, frozen=True):
    why: str
    state: State
    at: float


class Refusals:
    """Args:
    clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._verdicts: dict[str, Verdict] = {}

    def why(self, path: str) -> str | None:
        """Why this folder cannot draft, "" where it can; None = look: nobody has, it has changed
        since, or it was refused some time ago."""
        verdict = self._verdicts.get(path)
        if verdict is None or verdict.state != state_of(path):
            return None
        if verdict.why and self._clock() - verdict.at > RETRY_SECONDS:
            return None
        return verdict.why

    def note(self, path: str, why: str) -> str:
        self._verdicts[path] = Verdict(why, state_of(path), self._clock())
        return why


def state_of(folder: str) -> State:
    """Empty for a folder that is not there."""
    try:
        with os.scandir(folder) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def cannot_draft(tokenizer: Any, path: str) -> str:
    """Why a model cannot draft for this tokenizer's model; empty when it can."""
    try:
        theirs = mlx_lm.utils.load_tokenizer(Path(path).resolve(strict=True)).get_vocab()
    except Exception as error:
        return f"The draft model's tokenizer could not be loaded: {error}"
    ours = tokenizer.get_vocab()
    words = {number: text for text, number in ours.items()}
    other = sum(words.get(number, text) != text for text, number in theirs.items())
    if other or abs(len(ours) - len(theirs)) > UNKNOWN_SHARE * len(ours):
        return (
            "The draft model has another vocabulary than this model; a draft model must share its"
            " tokenizer. Choose a smaller model of the same family."
        )
    return ""
