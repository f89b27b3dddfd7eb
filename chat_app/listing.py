"""The list of chats beside the page."""

from datetime import timedelta

from django.utils import timezone

from chat_app.models import Conversation

LISTED = 200


def sidebar(words: str = "") -> list[tuple[str, list[Conversation]]]:
    """Conversations under headings: pinned, today, the last week, older."""
    found = Conversation.objects.matching(words).exclude(leaf=None)[:LISTED]
    groups: dict[str, list[Conversation]] = {}
    for row in found:
        groups.setdefault(_heading(row), []).append(row)
    return list(groups.items())


def _heading(row: Conversation) -> str:
    if row.pinned:
        return "Pinned"
    age = timezone.localdate() - timezone.localdate(row.updated_at)
    if age < timedelta(days=1):
        return "Today"
    return "Last seven days" if age <= timedelta(days=7) else "Older"
