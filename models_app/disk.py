"""What lies on the disk: each model's files, and orphans, which nothing needs any more.

An orphan is found anew before it is deleted, so what became needed meanwhile stays.
"""

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from django.conf import settings
from msgspec import Struct

from mlxgui.engine.jobs.folder import JobFolder
from mlxgui.jobs.runner import job_classes
from models_app import removal
from models_app.downloads import Download
from models_app.library import chosen_hub_cache
from models_app.models import Model, Source

QUIET_SECONDS = 3600.0
"""What was written to within this time may be somebody's download under way."""
OrphanKind = Literal["download", "prompts", "blobs", "job"]
WORDS: dict[OrphanKind, str] = {
    "download": "Part of a download that was given up",
    "prompts": "Prompts kept for a model that is gone",
    "blobs": "Files of the Hugging Face cache that no model uses",
    "job": "Folder of a download or training whose entry is gone",
}


class OnDisk(Struct, frozen=True):
    """One model's files. `path` is the folder as the library lists it."""

    model: Model
    size_bytes: int
    shared: bool = False
    """A folder that is only linked or registered: its bytes are not ours to count."""


class Orphan(Struct, frozen=True):
    """Files that may go. `id` names it in a form."""

    kind: OrphanKind
    name: str
    paths: list[Path]
    size_bytes: int

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def words(self) -> str:
        return WORDS[self.kind]


def models_on_disk() -> list[OnDisk]:
    """The largest first."""
    found = [_on_disk(model) for model in Model.objects.exclude(source=Source.STARTER)]
    return sorted(found, key=lambda one: -one.size_bytes)


def _on_disk(model: Model) -> OnDisk:
    folder = Path(model.path)
    if model.source == Source.HUB_CACHE:
        folder = folder.parent.parent
    if folder.is_symlink() or not folder.is_dir():
        return OnDisk(model, 0, shared=folder.is_symlink())
    return OnDisk(model, removal.size_of(folder), shared=not removal.owns_files(model))


def orphans() -> list[Orphan]:
    """The largest first. Blocking: it looks at every file of the cache."""
    cache = chosen_hub_cache()
    found = [*unfinished(cache), *kept_prompts(), *loose_blobs(cache), *left_jobs()]
    return sorted((one for one in found if one.size_bytes), key=lambda one: -one.size_bytes)


def clean(ids: Iterable[str]) -> int:
    """Delete those of the orphans that are named and still are orphans; returns the bytes."""
    wanted, freed = set(ids), 0
    for orphan in orphans():
        if orphan.id in wanted:
            for path in orphan.paths:
                _delete(path)
            freed += orphan.size_bytes
    return freed


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def unfinished(cache: Path) -> Iterator[Orphan]:
    """What downloads of ours left behind that cannot go on: no job wants it."""
    # Also those that failed: they may be taken up again.
    wanted = set(Download.objects.shown().values_list("repository", flat=True))
    for folder in _repositories(cache):
        parts = folder / "unfinished"
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        if name not in wanted and parts.is_dir():
            yield Orphan("download", name, [parts], removal.size_of(parts))


def kept_prompts() -> Iterator[Orphan]:
    """Folders of kept prompts are named after what their worker was loaded from."""
    root = settings.HOME.prompts
    known = {prompt_folder(key) for key in known_keys()}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.is_dir() or folder.is_symlink() or folder.name in known:
            continue
        if _is_quiet([folder, *folder.iterdir()]):
            yield Orphan("prompts", folder.name, [folder], removal.size_of(folder))


def known_keys() -> Iterator[str]:
    """Of every model, with every adapter that could go with it."""
    rows = list(Model.objects.all())
    adapters = {row.adapter_path for row in rows} - {""}
    for row in rows:
        yield row.key
        yield row.path
        yield from (f"{row.path}@{adapter}" for adapter in adapters)


def prompt_folder(key: str) -> str:
    """As the pool names it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def loose_blobs(cache: Path) -> Iterator[Orphan]:
    """Blobs that no snapshot leads to, of repositories where nothing was written for a while."""
    busy = set(Download.objects.unfinished().values_list("repository", flat=True))
    for folder in _repositories(cache):
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        blobs = [path for path in _files(folder / "blobs") if not path.is_symlink()]
        if name in busy or not blobs or not _is_quiet(blobs):
            continue
        used = {path.resolve() for path in (folder / "snapshots").rglob("*") if path.is_symlink()}
        loose = [path for path in blobs if path.resolve() not in used]
        if loose:
            size = sum(path.stat().st_size for path in loose)
            yield Orphan("blobs", name, loose, size)


def left_jobs() -> Iterator[Orphan]:
    """Folders of jobs without a row, where no child is at work."""
    root = settings.HOME.path / "jobs"
    known = {row.folder.path.name for kind in job_classes() for row in kind._default_manager.all()}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and folder.name not in known and not JobFolder(folder).is_alive():
            yield Orphan("job", folder.name, [folder], removal.size_of(folder))


def _repositories(cache: Path) -> list[Path]:
    if not cache.is_dir():
        return []
    return sorted(f for f in cache.glob("models--*") if f.is_dir() and not f.is_symlink())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _is_quiet(paths: list[Path]) -> bool:
    now = time.time()
    return all(now - path.lstat().st_mtime > QUIET_SECONDS for path in paths)
