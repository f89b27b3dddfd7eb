from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from models_app.library import scan
from models_app.models import Download, Model, Profile, Source

SETTINGS = (
    "defaults", "pinned", "keep_alive_minutes", "autoload", "max_kv_tokens", "kv_quantization",
    "kv_group_size", "kv_start_tokens", "chosen_adapter", "draft_path", "draft_tokens",
    "trust_remote_code",
)  # fmt: skip
IDENTITY = ("uuid", "path", "source", "huggingface_id", "author", "version")
FACTS = (
    "kind", "architecture", "family", "context_tokens", "quantization", "parameters",
    "weights_bytes", "memory_bytes", "capabilities", "is_finetuned", "base_model", "adapter_path",
    "error_message", "load_error", "metadata",
)  # fmt: skip
HISTORY = ("use_count", "last_used_at", "created_at", "updated_at")


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):
    """Settings can be changed. Facts come from the files, rows from the scan."""

    list_display = ("name", "kind", "architecture", "quantization", "memory", "sound", "pinned")
    list_filter = ("kind", "source", "pinned", "autoload", "quantization", "family")
    search_fields = ("name", "huggingface_id", "path", "architecture")
    readonly_fields = (*IDENTITY, *FACTS, *HISTORY)
    fieldsets = (
        (None, {"fields": ("name", *SETTINGS)}),
        ("Where it is", {"fields": IDENTITY}),
        ("What its files say", {"fields": FACTS}),
        ("History", {"fields": HISTORY}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "trust_remote_code" in form.changed_data:
            scan()  # what its folder may hold has changed

    @admin.display(description="memory needed", ordering="memory_bytes")
    def memory(self, model: Model) -> str:
        return filesizeformat(model.memory_bytes)

    @admin.display(description="can be loaded", boolean=True)
    def sound(self, model: Model) -> bool:
        return model.is_ready

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A row goes with its folder: the next scan would bring back what is deleted here."""
        return obj is not None and obj.source == Source.REGISTERED


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):
    list_display = ("__str__", "model", "created_at")
    list_filter = ("model",)
    search_fields = ("name", "model__name")


@admin.register(Download)
class DownloadAdmin(admin.ModelAdmin):
    """To look at. The Library page has the buttons."""

    list_display = ("repository", "status", "percent", "total", "created_at", "finished_at")
    list_filter = ("status",)
    search_fields = ("repository", "name")

    @admin.display(description="size")
    def total(self, download: Download) -> str:
        return filesizeformat(download.total_bytes)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Download | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Download | None = None) -> bool:
        return False
