"""Which first model is named on which machine."""

from pathlib import Path

import pytest

from mlxgui.engine.memory import GIB
from models_app.recommendation import SUGGESTIONS, download_command, suggest


@pytest.mark.parametrize(
    ("usable_gib", "name"),
    [
        (0, "Qwen3-0.6B-4bit"),
        (2, "Qwen3-0.6B-4bit"),
        (4, "Qwen3-1.7B-4bit"),
        (6, "Qwen3-4B-4bit"),  # a Mac with 8 GB
        (12, "Qwen3-8B-4bit"),  # 16 GB
        (18, "Qwen3-14B-4bit"),  # 24 GB
        (27, "Qwen3-30B-A3B-4bit"),  # 36 GB
        (96, "Qwen3-30B-A3B-4bit"),
    ],
)
def test_the_largest_model_that_fits_with_ease_is_named(usable_gib: int, name: str) -> None:
    assert suggest(usable_gib * GIB).name == name


def test_the_list_goes_from_small_to_large() -> None:
    sizes = [one.memory_bytes for one in SUGGESTIONS]
    assert sizes == sorted(sizes)


def test_the_command_survives_a_folder_with_spaces() -> None:
    command = download_command(SUGGESTIONS[0], Path("/my data/models"))
    assert command.endswith(
        "hf download mlx-community/Qwen3-0.6B-4bit --local-dir '/my data/models/Qwen3-0.6B-4bit'"
    )
