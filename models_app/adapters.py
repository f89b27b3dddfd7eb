"""A base with an adapter: named `base@adapter`, or by a request's own `adapters` field.

A profile of the base may stand between the two: `base:profile@adapter`.

Only adapters that the library lists can be named, by name, uuid, repository or folder: a path from
a request is never opened.
"""

from pathlib import Path

from asgiref.sync import sync_to_async
from django.db.models import Q, QuerySet
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from msgspec import structs

from mlxgui.engine.errors import BadRequest, ModelNotFound
from mlxgui.engine.model_files import weights_bytes
from mlxgui.engine.spec import ModelSpec
from models_app.models import Model, Profile
from models_app.unnamed import UNNAMED, name_of_unnamed


def spec_for(name: str, adapter: str = "", param: str = "adapters") -> tuple[Model, ModelSpec]:
    """The row that is served and what to load for it. Raises ModelNotFound, BadRequest.

    `adapter` overrides none: together with a name that holds one already it is refused. `param` is
    the field that named it.
    """
    base, named = _resolve_or_none(name), ""  # a repository's own name may hold an @
    if base is None:
        base_name, at, after = name.rpartition("@")
        base, named = Model.objects.resolve(base_name if at else name), after
    if named and adapter and named != adapter:
        raise BadRequest(f"Two adapters are named: “{named}” and “{adapter}”.", param=param)
    spec = base.spec()
    chosen = named or adapter
    if chosen:
        spec = with_adapter(spec, base, chosen, "model" if named else param)
    return base, spec


async def aspec_for(
    name: str, adapter: str = "", param: str = "adapters"
) -> tuple[Model, ModelSpec]:
    """The same, remembered until a row of the library changes: it is on every request's path."""
    if name == UNNAMED:
        name = await name_of_unnamed()
    asked = (name, adapter)
    if (known := _known.get(asked)) is not None:
        return known
    version = _version[0]
    found = await sync_to_async(spec_for)(name, adapter, param)
    if version == _version[0]:  # no row changed while we looked
        if len(_known) >= KNOWN:
            _known.clear()
        _known[asked] = found
    return found


KNOWN = 1024
_known: dict[tuple[str, str], tuple[Model, ModelSpec]] = {}
_version = [0]


@receiver([post_save, post_delete], sender=Model, dispatch_uid="forget-specs")
@receiver([post_save, post_delete], sender=Profile, dispatch_uid="forget-specs")
def forget_specs(**changed: object) -> None:
    _version[0] += 1
    _known.clear()


def with_adapter(spec: ModelSpec, base: Model, name: str, param: str) -> ModelSpec:
    """The worker variant of a base that has this adapter in it."""
    row = _find(name)
    if row is None:
        message = f"Model '{base.name}' has no adapter '{name}'"
        raise ModelNotFound(message) if param == "model" else BadRequest(message, param=param)
    return structs.replace(
        spec,
        name=f"{base.name}@{row.name}",
        adapter_path=row.adapter_path,
        memory_bytes=base.memory_bytes + weights_bytes(Path(row.adapter_path)),
    )


def adapters_of(base: Model) -> list[Model]:
    """The adapters whose training named this base: by name, repository or folder."""
    return [row for row in all_adapters() if is_base_of(base, row)]


def all_adapters() -> QuerySet[Model]:
    return Model.objects.filter(is_finetuned=True).exclude(adapter_path="")


def is_base_of(base: Model, adapter: Model) -> bool:
    named = adapter.base_model.rstrip("/")
    if base.pk == adapter.pk or not named:
        return False
    if named.startswith((".", "~")):  # a folder as seen from where it was trained
        return named.rpartition("/")[2] == base.name
    return named in (base.name, base.huggingface_id, base.path)


def _find(name: str) -> Model | None:
    named = Q(name=name) | Q(path=name.rstrip("/"))
    named |= Q(huggingface_id=name) & ~Q(huggingface_id="")
    return all_adapters().filter(named).first()


def _resolve_or_none(name: str) -> Model | None:
    try:
        return Model.objects.resolve(name)
    except ModelNotFound:
        return None
