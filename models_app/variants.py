"""Other names that a model answers to: `model:profile` and `base@adapter`."""

from collections.abc import Iterable
from typing import Literal

from asgiref.sync import sync_to_async
from msgspec import Struct

from models_app.adapters import all_adapters, is_base_of
from models_app.models import Model, Profile


class Variant(Struct, frozen=True):
    name: str
    kind: Literal["profile", "adapter"]


def variants(models: Iterable[Model]) -> dict[int, list[Variant]]:
    """By the row's key, for those that can be asked. Two queries, however many models there are."""
    able = [model for model in models if model.is_ready]
    found: dict[int, list[Variant]] = {model.pk: [] for model in able}
    names = {model.pk: model.name for model in able}
    for pk, called in Profile.objects.values_list("model", "name"):
        if pk in names:
            found[pk].append(Variant(f"{names[pk]}:{called}", "profile"))
    for adapter in all_adapters():
        for base in able:
            if is_base_of(base, adapter):
                found[base.pk].append(Variant(f"{base.name}@{adapter.name}", "adapter"))
    return found


avariants = sync_to_async(variants)
