"""The import of transformers, without its second look at what it has seen.

It reads every file of its models at its import, under the name of their folder, and again when the
first model is asked for, under the name of a file in it: 0.3 s, a fifth of what it takes until a
small model is loaded.
"""

from functools import cache
from pathlib import Path
from typing import Any


@cache
def import_quickly() -> None:
    from transformers.utils import import_utils

    look = getattr(import_utils, "create_import_structure_from_path", None)
    if look is None:  # another version, with ways of its own
        return

    def look_once(path: Any) -> Any:
        place = Path(path)
        return look(place.parent if place.is_file() else place)

    import_utils.create_import_structure_from_path = look_once
