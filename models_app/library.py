"""The scan: make the rows of the library agree with the folders on disk."""

import os
import threading
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction

from mlxgui.engine.plan import needed_bytes
from mlxgui.system.models import Setting
from models_app.folders import Candidate, candidates, hub_cache
from models_app.inspection import Facts, fingerprint, inspect
from models_app.models import ForgottenFolder, Model, Source

_one_scan_at_a_time = threading.Lock()
GONE = "The folder is no longer there. Put it back, or remove this entry."


def scan() -> None:
    """Find model folders and bring their rows up to date. Cheap when nothing has changed."""
    cache = chosen_hub_cache()
    with _one_scan_at_a_time:
        record(candidates(settings.HOME.models, cache))


async def ascan() -> None:
    await sync_to_async(scan)()


def chosen_hub_cache() -> Path:
    return hub_cache(str(Setting.objects.value("huggingface_cache_dir")))


async def ahub_cache() -> Path:
    return await sync_to_async(chosen_hub_cache)()


def record(found: Iterable[Candidate]) -> None:
    """One row for each folder; rows whose folder is gone leave, registered ones say so."""
    forgotten = set(ForgottenFolder.objects.values_list("path", flat=True))
    here = {str(one.path): one for one in found if str(one.path) not in forgotten}
    rows = {model.path: model for model in Model.objects.all()}
    for model in rows.values():
        if model.source == Source.REGISTERED:
            here.setdefault(model.path, _registered(model))
    gone = [model.pk for path, model in rows.items() if path not in here]
    taken = {model.name for path, model in rows.items() if path in here}
    with transaction.atomic():
        Model.objects.filter(pk__in=gone).delete()
        for path, candidate in here.items():
            _refresh(rows.get(path) or new_row(candidate, taken), candidate)


def new_row(candidate: Candidate, taken: set[str]) -> Model:
    name = free_name(candidate, taken)
    taken.add(name)
    return Model(path=str(candidate.path), name=name)


def register(path: Path, name: str = "", url: str = "") -> Model:
    """List a folder that lies elsewhere; `url` is the page it came from. Its own row is given back
    when it is listed already."""
    folder = path.resolve()
    remember(folder)
    model = Model.objects.filter(path=str(folder)).first()
    if model is None:
        candidate = Candidate(folder, name or folder.name, Source.REGISTERED, (folder,))
        model = new_row(candidate, set(Model.objects.values_list("name", flat=True)))
        _refresh(model, candidate)
    if url and model.metadata.get("url") != url:
        model.metadata = {**model.metadata, "url": url}
        model.save(update_fields=["metadata", "updated_at"])
    return model


def remember(folder: Path) -> None:
    """List it again, should its entry have been removed."""
    ForgottenFolder.objects.filter(path=str(folder)).delete()


def listed_under(repository: str, name: str) -> None:
    """Give a model of the hub the name that a person chose for it, if it is free."""
    if not name or Model.objects.filter(name=name).exists():
        return
    model = Model.objects.filter(huggingface_id=repository, source=Source.HUB_CACHE).first()
    if model is not None:
        model.name = name
        model.save(update_fields=["name", "updated_at"])


def _registered(model: Model) -> Candidate:
    folder = Path(model.path)
    return Candidate(folder, model.name, Source.REGISTERED, (folder,), model.huggingface_id)


def may_run_code(model: Model) -> bool:
    """Whether an administrator allowed program code from this folder, or from every one."""
    everywhere = os.environ.get("MLX_TRUST_REMOTE_CODE", "").strip().lower()
    return model.trust_remote_code or everywhere in ("1", "true", "yes", "on")


def _refresh(model: Model, candidate: Candidate) -> None:
    """Look at the folder unless it is as it was. Writes facts only: settings are a person's."""
    trusted = may_run_code(model)
    mark = f"{fingerprint(candidate.path)}{'+code' if trusted else ''}"
    if model.metadata.get("fingerprint") == mark and model.source == candidate.source:
        return
    found = inspect(candidate.path, candidate.roots, candidate.name, may_run_code=trusted)
    facts = {**columns(found, candidate), "load_error": ""}
    for name, value in facts.items():
        setattr(model, name, value)
    model.metadata = {**model.metadata, "fingerprint": mark}
    model.save(update_fields=None if model.pk is None else [*facts, "metadata", "updated_at"])


def columns(facts: Facts, candidate: Candidate) -> dict[str, Any]:
    """The facts as a row holds them."""
    found = {field.name: getattr(facts, field.name) for field in fields(facts)}
    config = found.pop("config")
    found["source"] = candidate.source
    found["version"] = candidate.version
    found["huggingface_id"] = candidate.huggingface_id or facts.huggingface_id
    found["author"] = found["huggingface_id"].rpartition("/")[0]
    found["memory_bytes"] = 0
    if facts.weights_bytes:
        found["memory_bytes"] = needed_bytes(candidate.path, config, facts.context_tokens)
    if not candidate.path.is_dir():
        found["error_message"] = GONE
    return found


def free_name(candidate: Candidate, taken: set[str]) -> str:
    """The folder's name; with its author, then a number, where that is taken.

    `@` and `:` stand for adapters and profiles, `/` for repositories.
    """
    name = "".join("-" if letter in "@:/" else letter for letter in candidate.name)[:180]
    if name not in taken:
        return name
    if candidate.author and (named := f"{candidate.author}-{name}"[:190]) not in taken:
        return named
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
