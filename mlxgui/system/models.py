"""Settings as rows. A row without a value follows the default of its definition."""

from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import models

from mlxgui.system.definitions import DEFINITIONS, Definition, Value
from mlxgui.system.signals import setting_changed


class SettingManager(models.Manager["Setting"]):
    def value(self, key: str) -> Value:
        definition = DEFINITIONS[key]
        row = self.filter(key=key).first()
        return row.effective if row else definition.default

    def as_dict(self) -> dict[str, Any]:
        """Every setting with its value in force; what is secret is hidden."""
        stored = {row.key: row.effective for row in self.filter(key__in=DEFINITIONS)}
        return {key: one.shown(stored.get(key, one.default)) for key, one in DEFINITIONS.items()}

    def write(self, key: str, value: object) -> Value:
        """Store and announce a value. Raises ValidationError where it does not fit."""
        if key not in DEFINITIONS:
            raise ValidationError(f"There is no setting {key!r}.")
        cleaned = DEFINITIONS[key].clean(value)
        self.update_or_create(key=key, defaults={"value": cleaned})
        setting_changed.send(sender=Setting, key=key, value=cleaned)
        return cleaned

    def reset(self, key: str) -> Value:
        """Follow the default again."""
        self.update_or_create(key=key, defaults={"value": None})
        setting_changed.send(sender=Setting, key=key, value=DEFINITIONS[key].default)
        return DEFINITIONS[key].default

    def make_rows(self) -> None:
        """One row per definition, so that the admin can list them all."""
        known = set(self.values_list("key", flat=True))
        missing = [Setting(key=key) for key in DEFINITIONS if key not in known]
        self.bulk_create(missing, ignore_conflicts=True)

    async def avalue(self, key: str) -> Value:
        return await sync_to_async(self.value)(key)

    async def aas_dict(self) -> dict[str, Any]:
        return await sync_to_async(self.as_dict)()

    async def awrite(self, key: str, value: object) -> Value:
        return await sync_to_async(self.write)(key, value)


class Setting(models.Model):
    """One setting: its value, or null while it follows the default."""

    key = models.CharField(max_length=60, primary_key=True)
    value = models.JSONField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SettingManager()

    class Meta:
        ordering: ClassVar = ["key"]

    def __str__(self) -> str:
        return self.key

    @property
    def definition(self) -> Definition:
        return DEFINITIONS[self.key]

    @property
    def effective(self) -> Value:
        """The stored value; the default where there is none, or where it no longer fits."""
        if self.value is None:
            return self.definition.default
        try:
            return self.definition.clean(self.value)
        except ValidationError:
            return self.definition.default
