"""Taking a model away: its files where they are ours to take, else only its entry."""

import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from msgspec import Struct

from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.wire.errors import Refused
from models_app import hub
from models_app.downloads import Download
from models_app.library import chosen_hub_cache
from models_app.models import ForgottenFolder, Model, Source

reasons_to_stay: list[Callable[[Model], str]] = []
"""Asked before a model goes: an app whose job uses it says so here. "" means: it may go."""


class Removed(Struct, frozen=True):
    files: bool
    freed_bytes: int = 0


def remove(model: Model, *, files: bool = True, outside: bool = False) -> Removed:
    """Blocking. `outside`: also the files of a folder that was only registered here. A row that
    was asked for under a profile's name loses that profile only.

    Raises BadRequest for what has to stay, Refused for what is in use.
    """
    if model.profile is not None:
        model.profile.delete()
        return Removed(files=False)
    check_may_go(model)
    if not owns_files(model):
        files = files and outside
    freed = _remove_files(model) if files else 0
    if not files and model.source != Source.REGISTERED:
        ForgottenFolder.objects.get_or_create(path=model.path)
    model.delete()
    return Removed(files, freed)


def owns_files(model: Model) -> bool:
    """Whether its files lie where this application keeps models."""
    return model.source in (Source.FOLDER, Source.HUB_CACHE)


def check_may_go(model: Model) -> None:
    if model.profile is not None:
        return
    if model.is_starter:
        raise BadRequest("The starter model is part of this application, so it stays.")
    same = Download.objects.unfinished().filter(repository=model.huggingface_id)
    if model.huggingface_id and same.exists():
        raise _in_use(f"“{model.name}” is being downloaded. Cancel the download first.")
    for reason in reasons_to_stay:
        if text := reason(model):
            raise _in_use(text)


def _in_use(text: str) -> Refused:
    return Refused(409, "model_in_use", text)


def _remove_files(model: Model) -> int:
    """The bytes that came back. Raises EngineError where the disk does not allow it."""
    try:
        return _take_files(model)
    except OSError as error:
        raise EngineError(
            f"“{model.name}” could not be deleted: {error.strerror or error}"
            f" ({error.filename or model.path}). See who owns that folder and whether it may be "
            "written to, then try again; or remove only the entry and keep the files."
        ) from error


def _take_files(model: Model) -> int:
    folder = Path(model.path)
    if model.source == Source.HUB_CACHE:
        return _remove_from_cache(folder)
    if model.source == Source.FOLDER:
        check_inside(folder, settings.HOME.models)
    elif not (folder / "config.json").is_file():
        raise BadRequest(f"{folder} does not look like one model, so its files are left alone.")
    freed = size_of(folder)
    if folder.is_symlink():
        folder.unlink()
        return 0
    shutil.rmtree(folder)
    return freed


def _remove_from_cache(snapshot: Path) -> int:
    """The whole repository, through the library that knows which blobs are shared."""
    cache = chosen_hub_cache()
    repository = snapshot.parent.parent
    check_inside(repository, cache)
    if repository.is_symlink():
        repository.unlink()
        return 0
    freed = hub.remove_from_cache(repository, cache)
    if repository.exists():  # what the library left: a damaged cache, our own unfinished files
        freed += size_of(repository)
        shutil.rmtree(repository)
    return freed


def check_inside(folder: Path, root: Path) -> None:
    """By where its parent really is: the folder itself may be a link, which alone would go."""
    parent, top = folder.parent.resolve(), root.resolve()
    if not parent.is_relative_to(top) or folder.name in ("", ".", ".."):
        raise BadRequest(f"{folder} is outside the folder of models, so it is left alone.")


def size_of(folder: Path) -> int:
    """Bytes on this disk; what links lead to is not counted."""
    found = (file.lstat() for file in folder.rglob("*") if not file.is_dir())
    return sum(facts.st_size for facts in found)
