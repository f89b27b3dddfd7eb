"""A first real model for this machine: the largest of a short list that leaves room to work."""

import shlex
import sys
from pathlib import Path

from msgspec import Struct

from mlxgui.engine.memory import GIB
from mlxgui.engine.plan import PLANNED_CONTEXT_TOKENS, planned_bytes

COMFORTABLE_SHARE = 0.7
"""Of the memory for models: the rest is for a long conversation, or a second small model."""


class Suggestion(Struct, frozen=True):
    """`weights_gib` is about what is downloaded; the rest follows from the model's config."""

    repository: str
    about: str
    weights_gib: float
    layers: int
    kv_heads: int
    head_dim: int = 128

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2]

    @property
    def memory_bytes(self) -> int:
        kv_per_token = self.layers * self.kv_heads * self.head_dim * 4
        return planned_bytes(int(self.weights_gib * GIB), kv_per_token, PLANNED_CONTEXT_TOKENS)

    @property
    def download_bytes(self) -> int:
        return int(self.weights_gib * GIB)


# From small to large. Each is a general assistant whose template knows tools and thinking.
SUGGESTIONS = (
    Suggestion("mlx-community/Qwen3-0.6B-4bit", "very small, short answers", 0.3, 28, 8),
    Suggestion("mlx-community/Qwen3-1.7B-4bit", "small and quick", 0.9, 28, 8),
    Suggestion("mlx-community/Qwen3-4B-4bit", "good for everyday questions", 2.1, 36, 8),
    Suggestion("mlx-community/Qwen3-8B-4bit", "thorough, still quick", 4.3, 36, 8),
    Suggestion("mlx-community/Qwen3-14B-4bit", "more thorough, slower", 7.8, 40, 8),
    Suggestion("mlx-community/Qwen3-30B-A3B-4bit", "thorough and quick", 16.0, 48, 4),
)


def suggest(usable_bytes: int) -> Suggestion:
    """The largest that fits with ease; the smallest of all where none does."""
    room = usable_bytes * COMFORTABLE_SHARE
    fitting = [one for one in SUGGESTIONS if one.memory_bytes <= room]
    return fitting[-1] if fitting else SUGGESTIONS[0]


def download_command(suggestion: Suggestion, models: Path) -> str:
    """One line for a shell, with the `hf` that came with this application."""
    own = Path(sys.executable).parent / "hf"
    program = shlex.quote(str(own)) if own.is_file() else "hf"
    target = shlex.quote(str(models / suggestion.name))
    return f"{program} download {suggestion.repository} --local-dir {target}"
