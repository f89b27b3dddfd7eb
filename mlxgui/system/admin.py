from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.forms import SettingForm
from mlxgui.system.models import Setting

admin.site.site_header = "MLX GUI"
admin.site.site_title = "MLX GUI"
admin.site.index_title = "Settings and data"


def words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "(empty)"


@admin.register(Setting)
class SettingAdmin(admin.ModelAdmin):
    form = SettingForm
    list_display = ("key", "current", "default", "takes_effect", "description")
    readonly_fields = ("default", "takes_effect", "updated_at")
    search_fields = ("key",)
    actions = ("reset_to_default",)

    @admin.display(description="Value")
    def current(self, row: Setting) -> str:
        return words(row.definition.shown(row.effective))

    @admin.display(description="Default")
    def default(self, row: Setting) -> str:
        return words(row.definition.default)

    @admin.display(description="Takes effect")
    def takes_effect(self, row: Setting) -> str:
        return row.definition.applies

    @admin.display(description="What it does")
    def description(self, row: Setting) -> str:
        return row.definition.description

    @admin.action(description="Reset to default", permissions=["change"])
    def reset_to_default(self, request: HttpRequest, rows: QuerySet[Setting]) -> None:
        for row in rows:
            Setting.objects.reset(row.key)
        messages.success(request, f"Reset: {', '.join(row.key for row in rows)}.")

    def save_model(self, request: HttpRequest, row: Setting, form: ModelForm, change: bool) -> None:
        Setting.objects.write(row.key, form.cleaned_data["value"])

    def get_queryset(self, request: HttpRequest) -> QuerySet[Setting]:
        return super().get_queryset(request).filter(key__in=DEFINITIONS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
