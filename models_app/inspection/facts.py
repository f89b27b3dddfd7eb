"""What is found out about a folder, and the one way to say that it cannot be used."""

from dataclasses import dataclass, field
from typing import Any

from mlxgui.engine.spec import Kind


class BrokenFolder(Exception):
    """The folder cannot be loaded. The message says why, and what to do about it."""


@dataclass
class Facts:
    """Named as the columns of a Model row."""

    kind: Kind = "text"
    architecture: str = ""
    family: str = ""
    huggingface_id: str = ""
    context_tokens: int = 0
    quantization: str = ""
    parameters: int = 0
    weights_bytes: int = 0
    generation: dict[str, float | int] = field(default_factory=dict)
    capabilities: dict[str, bool] = field(default_factory=dict)
    is_finetuned: bool = False
    base_model: str = ""
    adapter_path: str = ""
    error_message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """config.json itself: what a memory estimate is made from. Not a column."""
