"""Where model folders lie: the data folder, the Hugging Face cache, the one that is shipped."""

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from models_app.models import Source

STARTER = Path(__file__).resolve().parent / "starter"
STARTER_NAME = "starter"
PIPELINE_INDEX = "model_index.json"
"""An image model is a folder of parts under this file."""
MODEL_FILES = ("config.json", PIPELINE_INDEX)
LM_STUDIO = Path("~/.lmstudio/models")


class Candidate(Struct, frozen=True):
    """A folder that may hold a model, and what is known of it from where it lies."""

    path: Path
    name: str
    source: Source
    roots: tuple[Path, ...]
    """Links in the folder may lead here and nowhere else."""
    huggingface_id: str = ""
    version: str = ""

    @property
    def author(self) -> str:
        return self.huggingface_id.rpartition("/")[0]


def candidates(models: Path, hub_cache: Path, lm_studio: Path = LM_STUDIO) -> Iterator[Candidate]:
    """Every folder to look at: those that a person put there by hand before those of a cache."""
    yield from starter_model(STARTER)
    yield from model_folders(models, (models,))
    yield from cached_models(hub_cache)
    yield from lm_studio_models(lm_studio)


def starter_model(folder: Path) -> Iterator[Candidate]:
    if (folder / "config.json").is_file():
        yield Candidate(folder, STARTER_NAME, Source.STARTER, (folder,))


def model_folders(root: Path, roots: tuple[Path, ...], depth: int = 2) -> Iterator[Candidate]:
    """Folders in `root`, and in its folders where those only sort (author/name)."""
    for folder in _folders(root):
        if depth > 1 and _only_sorts(folder):
            yield from model_folders(folder, roots, depth - 1)
        else:
            yield Candidate(folder, folder.name, Source.FOLDER, roots)


def folders_with_config(root: Path, depth: int) -> Iterator[Path]:
    """Folders that say they are models, however they are sorted. Links are not followed."""
    for folder in _folders(root):
        if (folder / "config.json").is_file():
            yield folder
        elif depth > 1 and not folder.is_symlink():
            yield from folders_with_config(folder, depth - 1)


def _only_sorts(folder: Path) -> bool:
    if folder.is_symlink() or any((folder / name).exists() for name in MODEL_FILES):
        return False
    if any(folder.glob("*.safetensors")):
        return False
    return any((inner / "config.json").is_file() for inner in _folders(folder))


def _folders(root: Path) -> list[Path]:
    """Not the hidden ones: they are unfinished, or somebody's own."""
    try:
        found = [Path(entry.path) for entry in os.scandir(root) if _is_folder(entry)]
    except OSError:
        return []
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and (entry.is_dir() or entry.is_symlink())
    except OSError:
        return False


def hub_cache(chosen: str = "") -> Path:
    """As huggingface_hub finds it, without importing it; `chosen` is the setting."""
    if chosen:
        folder = Path(chosen).expanduser()
        return folder / "hub" if (folder / "hub").is_dir() else folder
    if folder_name := os.environ.get("HF_HUB_CACHE"):
        return Path(folder_name).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "hub"


def cached_models(root: Path) -> Iterator[Candidate]:
    """The `main` snapshot of each repository that has a config and safetensors weights."""
    for folder in _folders(root):
        author_and_name = folder.name.removeprefix("models--").split("--", 1)
        snapshot = _main_snapshot(folder)
        if not folder.name.startswith("models--") or snapshot is None:
            continue
        yield Candidate(
            path=snapshot,
            name=author_and_name[-1],
            source=Source.HUB_CACHE,
            roots=(root,),
            huggingface_id="/".join(author_and_name),
            version=snapshot.name,
        )


def lm_studio_models(root: Path) -> Iterator[Candidate]:
    """author/name, like the hub. What it has in other formats is not for us."""
    for folder in folders_with_config(root.expanduser(), 3):
        if any(folder.glob("*.safetensors")):
            yield Candidate(
                path=folder,
                name=folder.name,
                source=Source.LM_STUDIO,
                roots=(root.expanduser(),),
                huggingface_id=f"{folder.parent.name}/{folder.name}",
            )


def _main_snapshot(repository: Path) -> Path | None:
    try:
        commit = (repository / "refs" / "main").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not commit.isalnum():
        return None
    snapshot = repository / "snapshots" / commit
    if (snapshot / "config.json").is_file() and any(snapshot.glob("*.safetensors")):
        return snapshot
    if (snapshot / PIPELINE_INDEX).is_file() and any(snapshot.glob("*/*.safetensors")):
        return snapshot
    return None
