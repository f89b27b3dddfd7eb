"""What a kept state depends on, as one short text: two caches may mix only if it is the same."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

FORMAT = 1
"""To be raised when the way we store entries changes."""

WHOLE = {".json", ".jinja", ".py"}
"""Read and hashed. Weights are told by size and time: reading them would take minutes."""


def signature_of(model: Path, adapter: Path | None, template: str, settings: dict[str, Any]) -> str:
    """Of the model's folder, its adapter, its chat template, our libraries, and the settings that
    shape a state (cache quantisation, largest cache)."""
    digest = hashlib.sha256()
    facts = {
        "format": FORMAT,
        "libraries": [version("mlx"), version("mlx-lm"), version("transformers")],
        "template": template,
        "settings": settings,
        "files": [[str(folder.name), *_files(folder)] for folder in (model, adapter) if folder],
    }
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[list[Any]]:
    for path in sorted(folder.iterdir()):
        if path.suffix in WHOLE and path.is_file():
            yield [path.name, hashlib.sha256(path.read_bytes()).hexdigest()]
        elif path.suffix == ".safetensors" and path.is_file():
            stat = path.stat()
            yield [path.name, stat.st_size, stat.st_mtime_ns]
