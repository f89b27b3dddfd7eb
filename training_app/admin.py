from django.contrib import admin

from training_app.models import Dataset, TrainingJob


@admin.register(Dataset)
class DatasetAdmin(admin.ModelAdmin):
    list_display = ("name", "examples", "size_bytes", "created_at")
    search_fields = ("name", "path")


@admin.register(TrainingJob)
class TrainingJobAdmin(admin.ModelAdmin):
    list_display = ("model_name", "dataset", "status", "progress", "created_at")
    list_filter = ("status",)
    list_select_related = ("dataset",)
    readonly_fields = ("status", "progress", "error", "created_at", "started_at", "finished_at")
