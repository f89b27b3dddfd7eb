"""Program code that a model's folder brings along. Some libraries run it unasked; a worker does not
let them see such a folder unless an admin allowed it for that model."""

import json
from pathlib import Path
from typing import Any

from mlxgui.engine.errors import LoadFailed
from mlxgui.engine.spec import ModelSpec

CODE_ENDINGS = (".py", ".pyc", ".so", ".dylib")
CODE_KEYS = ("auto_map", "model_file")
DEPTH = 3


def refuse_code(spec: ModelSpec) -> None:
    """Raises LoadFailed when the folder of the model, its adapter or its draft model holds any."""
    if spec.kind == "fake" or spec.options.trust_remote_code:
        return
    for path in (spec.path, spec.adapter_path, spec.options.draft_path):
        if path and (found := code_in(Path(path))):
            raise LoadFailed(
                f"“{spec.name}” is not loaded, for its folder brings program code ({found}). Allow"
                " it on the model's page if you trust its author, or use a conversion without any."
            )


def code_in(folder: Path) -> str:
    """What it found; empty = nothing."""
    levels = ["*/" * depth + "*" for depth in range(DEPTH + 1)]
    for file in (file for level in levels for file in sorted(folder.glob(level))):
        if file.suffix in CODE_ENDINGS:
            return file.name
    for file in sorted(folder.glob("*config.json")):
        try:
            value = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # whoever reads it next says what is wrong with it
        if key := _key_in(value):
            return f"{key} in {file.name}"
    return ""


def _key_in(value: Any, depth: int = 4) -> str:
    if not isinstance(value, dict) or not depth:
        return ""
    named = next((key for key in CODE_KEYS if value.get(key)), "")
    return named or next((key for v in value.values() if (key := _key_in(v, depth - 1))), "")
