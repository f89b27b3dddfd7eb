"""What a model's generation_config.json asks for, in the engine's own names.

Source: Hugging Face transformers, GenerationConfig.
"""

import math
from pathlib import Path
from typing import Any

from models_app.inspection import files

# Hub name → (our name, lowest, highest). What lies outside is left out, as if not given.
NAMES: dict[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 5),
    "top_p": ("top_p", 0, 1),
    "top_k": ("top_k", 0, 1 << 31),
    "min_p": ("min_p", 0, 1),
    "repetition_penalty": ("repetition_penalty", 0, 10),
}
DRAWING = ("temperature", "top_p", "top_k", "min_p")


def generation_defaults(folder: Path) -> dict[str, float | int]:
    """Sampling values for requests that do not give their own."""
    given = files.read_object(folder / "generation_config.json")
    found = {ours: given[name] for name, (ours, *_) in NAMES.items() if _fits(name, given)}
    if given.get("do_sample") is False:  # what says how to draw is passed over, as the library does
        return {name: found[name] for name in found if name not in DRAWING} | {"temperature": 0.0}
    return found


def _fits(name: str, given: dict[str, Any]) -> bool:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    _, lowest, highest = NAMES[name]
    return lowest <= value <= highest and (name != "top_k" or isinstance(value, int))
