"""The files of a folder: which may be read, which must not be there, and JSON with a size limit."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from models_app.inspection.facts import BrokenFolder

MAX_JSON_BYTES = 128 << 20
MAX_FILES = 5000
CODE_KEYS = ("auto_map", "model_file")
CONFIG_FILES = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)


def walk(folder: Path, depth: int = 3) -> Iterator[os.DirEntry[str]]:
    """Every entry that a library could open, in a stable order; hidden folders are left out."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield entry
        if depth and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from walk(Path(entry.path), depth - 1)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    found = []
    for entry in walk(folder):
        found.append(entry)
        if len(found) > MAX_FILES:
            raise BrokenFolder(
                f"There are more than {MAX_FILES} files in this folder: it is not a model. "
                "Move the model into a folder of its own."
            )
    return found


def check_links(folder: Path, found: Sequence[os.DirEntry[str]], roots: Sequence[Path]) -> None:
    """A link may point anywhere inside `roots`, and nowhere else."""
    allowed = [root.resolve() for root in roots]
    linked = [Path(entry.path) for entry in found if entry.is_symlink()]
    for path in [folder, *linked]:
        target = path.resolve()
        if not any(target.is_relative_to(root) for root in allowed):
            raise BrokenFolder(
                f"“{path.name}” is a link to a place outside the model folders, so it is not "
                "read. Copy the file itself into the folder."
            )
        if not target.exists():
            raise BrokenFolder(
                f"“{path.name}” is a link to a file that is gone. Download the model again."
            )


def check_no_code(folder: Path, found: Sequence[os.DirEntry[str]]) -> None:
    """Some loaders run Python that they find in a folder, unasked. Refuse before they see it."""
    way_out = (
        "It is not run. Use a conversion of the model that needs none (most from mlx-community), "
        "or remove the file or entry if a library knows this architecture without it. An "
        "administrator who trusts the author may allow it on the model's settings page."
    )
    for entry in found:
        if entry.name.endswith((".py", ".pyc", ".so")):
            raise BrokenFolder(f"The folder holds program code ({entry.name}). {way_out}")
    for name in CONFIG_FILES:
        if key := _code_key(read_json(folder / name)):
            raise BrokenFolder(f"{name} asks for program code to be run ({key}). {way_out}")


def _code_key(value: Any, depth: int = 4) -> str:
    if not isinstance(value, dict) or not depth:
        return ""
    for key in CODE_KEYS:
        if value.get(key):
            return key
    return next((key for part in value.values() if (key := _code_key(part, depth - 1))), "")


def read_json(file: Path) -> Any:
    """Its content, None where there is no such file, or BrokenFolder."""
    data = read_bytes(file)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFolder(
            f"{file.name} is damaged or incomplete: it is not valid JSON. Download it again."
        ) from error


def read_bytes(file: Path) -> bytes | None:
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise BrokenFolder(f"{file.name} is larger than any file of its kind should be.")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BrokenFolder(f"{file.name} cannot be read: {error.strerror}.") from error


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    value = read_json(file)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BrokenFolder(f"{file.name} is not a JSON object. Download it again.")
    return value
