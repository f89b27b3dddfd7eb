from django.contrib import admin

from chat_app.models import Conversation, Message


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):
    list_display = ("__str__", "model_name", "pinned", "updated_at")
    list_filter = ("pinned", "model_name")
    search_fields = ("title", "messages__content")
    raw_id_fields = ("leaf",)
    readonly_fields = ("id", "created_at", "updated_at")


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ("__str__", "conversation", "model_name", "status", "created_at")
    list_filter = ("role", "status", "model_name")
    search_fields = ("content",)
    raw_id_fields = ("conversation", "parent")
    list_select_related = ("conversation",)
    readonly_fields = ("created_at",)
