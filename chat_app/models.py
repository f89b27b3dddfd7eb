"""Conversations and their messages. Messages form a tree; `Conversation.leaf` names the path shown.

Editing a question or asking for another reply adds a sibling, so nothing that was said is lost.
"""

import uuid
from datetime import datetime
from typing import ClassVar, Self

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from chat_app.thread import Entry, path_to, tip_below

TITLE_LENGTH = 60


def title_from(text: str) -> str:
    """A title for a conversation that begins with this message."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    return line[: TITLE_LENGTH - 1].rsplit(" ", 1)[0].rstrip(",;:.- ") + "…"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def matching(self, words: str) -> Self:
        """Those whose title or messages contain the words."""
        if not words.strip():
            return self
        found = Q(title__icontains=words) | Q(messages__content__icontains=words)
        return self.filter(found).distinct()


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=200, blank=True)
    model_name = models.CharField("model", max_length=300, blank=True)
    system_prompt = models.TextField(blank=True)
    sampling = models.JSONField(
        default=dict, blank=True, help_text="temperature, top_p, max_tokens, seed: what was chosen."
    )
    pinned = models.BooleanField(default=False)
    leaf = models.ForeignKey(
        "Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    revision = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pinned", "-updated_at"]
        indexes: ClassVar = [models.Index(fields=["-pinned", "-updated_at"])]

    def __str__(self) -> str:
        return self.title or "New chat"

    @property
    def is_new(self) -> bool:
        """Not saved yet: there is an address, but no message."""
        return self._state.adding

    # -- reading ----------------------------------------------------------------------------------

    def path(self) -> list[Entry["Message"]]:
        """The messages shown, oldest first, each with its place among its siblings."""
        return path_to(self.leaf_id, list(self.messages.all()))

    # -- writing ----------------------------------------------------------------------------------

    def show(self, leaf: "Message", *, active: bool = True) -> None:
        """Make this message the end of the shown path. `active` moves the chat up in the list."""
        self.leaf = leaf
        if active:
            self.updated_at = timezone.now()
        self.revision = F("revision") + 1
        self.save(update_fields=["leaf", "updated_at", "revision"])
        self.refresh_from_db(fields=["revision"])

    @transaction.atomic
    def add_user_message(self, text: str) -> "Message":
        if not self.title:
            self.title = title_from(text)
        self.save()
        message = self.messages.create(role=Message.Role.USER, content=text, parent_id=self.leaf_id)
        self.show(message)
        return message

    @transaction.atomic
    def begin_reply(self, parent: "Message") -> "Message":
        """An empty reply to `parent`, to be written by a `Reply`."""
        message = self.messages.create(
            role=Message.Role.ASSISTANT,
            status=Message.Status.STREAMING,
            parent=parent,
            model_name=self.model_name,
        )
        self.show(message)
        return message

    @transaction.atomic
    def edit(self, message: "Message", text: str) -> "Message":
        """The question in other words: a sibling of `message`, and the new end of the path."""
        sibling = self.messages.create(
            role=Message.Role.USER, content=text, parent_id=message.parent_id
        )
        self.show(sibling)
        return sibling

    def switch_to(self, message: "Message") -> None:
        """Show the branch through this message, down to its newest end."""
        self.show(tip_below(message, list(self.messages.all())), active=False)


class MessageQuerySet(models.QuerySet["Message"]):
    def fail_abandoned(self, before: datetime) -> int:
        """Close replies that a server which is gone left open. Returns how many."""
        return self.filter(status=Message.Status.STREAMING, created_at__lt=before).update(
            status=Message.Status.FAILED,
            error_code="server_stopped",
            error="The server stopped before this reply was finished.",
        )


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        COMPLETE = "complete"
        STREAMING = "streaming"
        STOPPED = "stopped"
        FAILED = "failed"

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    role = models.CharField(max_length=12, choices=Role.choices)
    content = models.TextField(blank=True)
    thinking = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.COMPLETE)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    model_name = models.CharField("model", max_length=300, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)
    cache_note = models.TextField("how far the prompt was reused, and why", blank=True)
    first_token_seconds = models.FloatField(null=True, blank=True)
    tokens_per_second = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["status", "created_at"])]

    def __str__(self) -> str:
        return f"{self.role}: {title_from(self.content)}"

    @property
    def is_streaming(self) -> bool:
        return self.status == self.Status.STREAMING

    def keep(self, content: str, thinking: str) -> None:
        """Save what there is so far, unless the row is gone."""
        self.content, self.thinking = content, thinking
        type(self).objects.filter(pk=self.pk).update(content=content, thinking=thinking)

    def finish(self, finish_reason: str) -> None:
        self._end(self.Status.COMPLETE, finish_reason=finish_reason)

    def stop(self) -> None:
        self._end(self.Status.STOPPED)

    def fail(self, code: str, error: str) -> None:
        self._end(self.Status.FAILED, error_code=code, error=error)

    def _end(self, status: str, **fields: str) -> None:
        """Save the row in its last state. A row deleted meanwhile stays deleted."""
        self.status = status
        for name, value in fields.items():
            setattr(self, name, value)
        written = {field.attname for field in self._meta.concrete_fields}
        written -= {"id", "conversation_id", "parent_id", "role", "created_at"}
        values = {name: getattr(self, name) for name in written}
        type(self).objects.filter(pk=self.pk).update(**values)
        Conversation.objects.filter(pk=self.conversation_id).update(
            revision=F("revision") + 1, updated_at=timezone.now()
        )


from chat_app.stored import StoredResponse  # noqa: E402  Django looks for rows in this module

__all__ = ["Conversation", "Message", "StoredResponse"]
