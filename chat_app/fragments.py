"""The HTML that goes down the socket. All of it is written in the page's own templates."""

from dataclasses import dataclass, replace
from typing import Any

from django.template.loader import render_to_string

from chat_app.markdown import Blocks, render
from chat_app.models import Message
from chat_app.replies import Reply
from chat_app.thread import Entry

MESSAGE = "chat_app/_message.html"
WINDOW = 80
"""Messages shown at first; earlier ones on demand."""

Key = tuple[int, str, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as the template needs it. `blocks` is its body, as safe HTML."""

    entry: Entry[Message]
    blocks: list[str]
    activity: str = ""
    editing: bool = False

    @property
    def message(self) -> Message:
        return self.entry.message


def key_of(entry: Entry[Message]) -> Key:
    """Two equal keys look the same on the page."""
    return entry.message.pk, entry.message.status, entry.position, entry.count


def shown(entry: Entry[Message], *, editing: int = 0) -> Shown:
    message = entry.message
    is_reply = message.role == Message.Role.ASSISTANT
    blocks = [render(message.content)] if is_reply else []
    return Shown(entry, blocks, editing=message.pk == editing)


def part(template: str, name: str, **context: Any) -> str:
    return render_to_string(f"{template}#{name}", context)


def message_html(item: Shown, *, swap: str = "") -> str:
    return part(MESSAGE, "message", item=item, swap=swap)


def difference(old: list[Key], entries: list[Entry[Message]], *, skip: int = 0) -> str:
    """Fragments that turn a page showing `old` into one showing `entries`.

    Messages that look different are replaced, those that left the path go, new ones are appended.
    """
    html = []
    same = 0
    for key, entry in zip(old, entries, strict=False):
        if key[0] != entry.message.pk:
            break
        same += 1
        if key != key_of(entry) and key[0] != skip:
            html.append(message_html(shown(entry), swap="true"))
    html += [part(MESSAGE, "removal", id=key[0]) for key in old[same:]]
    new = [shown(entry) for entry in entries[same:]]
    if new:
        html.append(part(MESSAGE, "appended", items=new))
    return "".join(html)


class Frames:
    """What one viewer must be sent to follow one reply, from its present state to its end."""

    def __init__(self, entry: Entry[Message], reply: Reply) -> None:
        self.version = -1
        self._entry = entry
        self._reply = reply
        self._blocks = Blocks()
        self._number = 1
        self._open = ""
        self._thinking = 0
        self._activity = ""

    def first(self) -> str:
        """The whole message as it stands: block 0 is what is closed, block 1 the open end."""
        reply = self._reply
        self.version = reply.version
        closed, self._open = self._blocks.feed(reply.text)
        self._thinking, self._activity = len(reply.thinking), reply.activity
        item = Shown(self._entry, [closed, self._open], self._activity)
        item.message.thinking = reply.thinking
        return message_html(item, swap="true")

    def next(self) -> str:
        """What has changed since the last frame; "" when nothing that shows has."""
        self.version = self._reply.version
        changes = self._text() | self._thought() | self._doing()
        return part(MESSAGE, "delta", id=self._entry.message.pk, **changes) if changes else ""

    def last(self) -> str:
        """The end: the open block in its last form, the figures, the actions."""
        message = self._reply.message
        item = Shown(replace(self._entry, message=message), [])
        tail = self._blocks.finish(self._reply.text)
        return self.next() + part(MESSAGE, "ending", item=item, number=self._number, tail=tail)

    def _text(self) -> dict[str, Any]:
        closed, opened = self._blocks.feed(self._reply.text)
        if not closed and opened == self._open:
            return {}
        self._open = opened
        change = {"number": self._number, "closed": closed, "open": opened}
        if closed:
            self._number += 1
        return change | {"after": self._number}

    def _thought(self) -> dict[str, Any]:
        new = self._reply.thinking[self._thinking :]
        if not new:
            return {}
        is_first, self._thinking = not self._thinking, self._thinking + len(new)
        return {"thought": new, "is_first_thought": is_first}

    def _doing(self) -> dict[str, Any]:
        if self._reply.activity == self._activity:
            return {}
        self._activity = self._reply.activity
        return {"activity": self._activity, "activity_changed": True}
