"""One socket a page. It brings the page up to date, and follows the reply that is being written."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from chat_app import replies
from chat_app.actions import act
from chat_app.fragments import WINDOW, Frames, Key, difference, key_of, part, shown
from chat_app.listing import sidebar
from chat_app.models import Conversation, Message
from chat_app.replies import Refused, Reply
from chat_app.thread import Entry

FRAME_SECONDS = 1 / 30
LOAD = 3
"""Pause at least this many times as long as the last frame took to make."""
PAGE = "chat_app/conversation.html"
HEAD = "chat_app/_head.html"
COMPOSER = "chat_app/_composer.html"


class ChatConsumer(AsyncWebsocketConsumer):
    conversation_id: UUID

    async def connect(self) -> None:
        self.conversation_id = self.scope["url_route"]["kwargs"]["id"]
        self._keys: list[Key] = []
        self._title = ""
        self._busy: bool | None = None
        self._following: Reply | None = None
        self._follower: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        await self.channel_layer.group_add(replies.group(self.conversation_id), self.channel_name)
        await self.accept()
        query = parse_qs(self.scope["query_string"].decode())
        await self._look(page_revision=query.get("revision", [""])[0])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(
            replies.group(self.conversation_id), self.channel_name
        )
        if self._follower:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        fields = _fields(text_data)
        try:
            await act(self.conversation_id, fields)
        except Refused as refusal:
            text = fields.get("text", "") if fields.get("action", "send") == "send" else ""
            await self.send(part(PAGE, "refusal", refusal=str(refusal), text=text, oob=True))
        else:
            await self._look()

    async def chat_changed(self, event: dict[str, Any]) -> None:
        await self._look()

    async def _look(self, page_revision: str | None = None) -> None:
        """Send what the page lacks. `page_revision` is what a page that just connected shows."""
        async with self._lock:
            conversation, entries = await database_sync_to_async(_load)(self.conversation_id)
            html = self._thread(conversation, entries, page_revision)
            html += await self._surroundings(conversation, is_first=page_revision is not None)
            if html:
                await self.send(html)
            self._follow(entries)

    def _thread(
        self, conversation: Conversation, entries: list[Entry[Message]], page_revision: str | None
    ) -> str:
        following = self._following.message.pk if self._following else 0
        old, self._keys = self._keys, [key_of(entry) for entry in entries]
        if page_revision is None:
            return difference(old, entries, skip=following)
        if page_revision == str(conversation.revision):
            return ""
        items = [shown(entry) for entry in entries[-WINDOW:]]
        return part(PAGE, "thread", items=items, oob=True)

    async def _surroundings(self, conversation: Conversation, *, is_first: bool) -> str:
        html = ""
        busy = replies.live(self.conversation_id) is not None
        if busy != self._busy:
            self._busy = busy
            html += part(COMPOSER, "action", busy=busy, oob=True)
        if conversation.title != self._title:
            self._title = conversation.title
            if not is_first:
                groups = await database_sync_to_async(sidebar)()
                html += part(HEAD, "named", conversation=conversation, groups=groups, oob=True)
        return html

    def _follow(self, entries: list[Entry[Message]]) -> None:
        reply = replies.live(self.conversation_id)
        if self._following or not reply or not entries:
            return
        if reply.writes(entries[-1].message.pk):
            self._following = reply
            self._follower = asyncio.create_task(self._stream(Frames(entries[-1], reply), reply))

    async def _stream(self, frames: Frames, reply: Reply) -> None:
        await self.send(frames.first())
        while not reply.is_over:
            # Before the first word the pool may know more without a new event: look now and then.
            await reply.changed_since(frames.version, None if reply.phase == "writing" else 0.25)
            began = time.perf_counter()
            if html := frames.next():
                await self.send(html)
            await asyncio.sleep(max(FRAME_SECONDS, LOAD * (time.perf_counter() - began)))
        await self.send(frames.last())
        self._following = None
        last = reply.message
        self._keys = [
            (last.pk, last.status, *key[2:]) if key[0] == last.pk else key for key in self._keys
        ]
        await self._look()


def _load(conversation_id: UUID) -> tuple[Conversation, list[Entry[Message]]]:
    conversation = Conversation.objects.filter(pk=conversation_id).first()
    if conversation is None:
        return Conversation(pk=conversation_id), []
    return conversation, conversation.path()


def _fields(text: str | None) -> dict[str, str]:
    """The form's fields as the socket extension sends them: a JSON object."""
    try:
        sent = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(sent, dict):
        return {}
    return {name: value for name, value in sent.items() if isinstance(value, str)}
