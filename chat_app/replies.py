"""Replies being written. A reply belongs to the server: it goes on whoever looks, or nobody."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Literal
from uuid import UUID

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone

from chat_app.models import Conversation, Message
from chat_app.prompt import request_for
from mlxgui.engine.errors import EngineError, ModelNotFound
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import (
    CacheUse,
    Done,
    Event,
    Finished,
    GenerationRequest,
    Progress,
    Started,
    Text,
    Thinking,
)
from mlxgui.runtime import get_runtime
from models_app.adapters import spec_for
from models_app.models import Model

log = logging.getLogger("mlxgui.chat")

SAVE_SECONDS = 2.0
INTERNAL_ERROR = "Something went wrong. The server's log says more."
STARTED_AT = timezone.now()

Ask = Callable[[], Message]
"""Runs in a database thread and returns the message to reply to."""

_live: dict[UUID, "Reply"] = {}


def cache_note(use: CacheUse) -> str:
    """Why the prompt was reused so far and no further, with the words where it parts."""
    if use.divergence < 0 or not use.text:
        return use.explanation
    where = f"It parts at token {use.divergence}: “{use.text}” where “{use.known_text}” was before."
    return f"{use.explanation} {where}"


class Refused(Exception):
    """The person's wish cannot be met now; the message says why."""


def live(conversation_id: UUID) -> "Reply | None":
    return _live.get(conversation_id)


async def begin(conversation_id: UUID, ask: Ask) -> "Reply":
    """Save what `ask` does and start replying to it. One reply at a time in a conversation."""
    if conversation_id in _live:
        raise Refused("Wait until this reply is finished, or stop it first.")
    reply = _live[conversation_id] = Reply(conversation_id)
    try:
        await database_sync_to_async(reply.prepare)(ask)
    except BaseException:
        del _live[conversation_id]
        raise
    reply.start()
    await nudge(conversation_id)
    return reply


async def stop(conversation_id: UUID) -> None:
    """End the reply that is being written, if any; what there is of it stays."""
    if reply := _live.get(conversation_id):
        await reply.stop()


async def nudge(conversation_id: UUID) -> None:
    """Tell every open page of this conversation to look again."""
    await get_channel_layer().group_send(group(conversation_id), {"type": "chat.changed"})


def group(conversation_id: UUID) -> str:
    return f"chat.{conversation_id}"


class Reply:
    """One reply: the text so far, and what is going on. Viewers wait for `version` to grow."""

    message: Message

    def __init__(self, conversation_id: UUID) -> None:
        self.conversation_id = conversation_id
        self.text = ""
        self.thinking = ""
        self.version = 0
        self.phase: Literal["starting", "reading", "writing", "over"] = "starting"
        self.read_fraction = 0.0
        self._refusal: EngineError | None = None
        self._spec: ModelSpec | None = None
        self._request = GenerationRequest()
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._finish_reason = "stop"
        self._began = self._saved_at = time.monotonic()

    # -- for viewers ------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self.phase == "over"

    def writes(self, message_id: int) -> bool:
        return self._task is not None and self.message.pk == message_id

    @property
    def activity(self) -> str:
        """What happens before the first word, for the line under the message."""
        if self.phase == "reading":
            return f"Reading the prompt… {self.read_fraction:.0%}"
        if self.phase != "starting" or self._spec is None:
            return ""
        for resident in get_runtime().pool.residents():
            if resident.key == self._spec.key and resident.state == "ready":
                return "Waiting for its turn…" if resident.waiting else "Starting…"
            if resident.key == self._spec.key and resident.progress:
                return f"Loading model… {resident.progress:.0%}"
        return "Loading model…"

    async def changed_since(self, version: int, within: float | None = None) -> None:
        """Return when there is something newer than `version`, or after `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: self.version > version or self.is_over)

    async def ended(self) -> None:
        if self._task:
            await asyncio.wait([self._task])

    # -- its life ---------------------------------------------------------------------------------

    def prepare(self, ask: Ask) -> None:
        """The rows, the model, the request. Runs in a database thread."""
        with transaction.atomic():
            parent = ask()
            conversation = Conversation.objects.get(pk=self.conversation_id)
            self.message = conversation.begin_reply(parent)
        try:
            model, self._spec = spec_for(conversation.model_name)
            self._request = request_for(conversation, parent, model)
            Model.objects.filter(pk=model.pk).record_uses(1)
        except ModelNotFound:
            self._refusal = ModelNotFound(
                f"“{conversation.model_name}” is not in the library. Choose another model."
                if conversation.model_name
                else "Choose a model first."
            )
        except EngineError as error:
            self._refusal = error

    def start(self) -> None:
        # An empty context: the reply must not hold on to the request or socket that began it.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        message = self.message
        try:
            await self._write()
        except asyncio.CancelledError:
            await self._close(message.stop)
        except EngineError as error:
            await self._close(partial(message.fail, error.code, error.message))
        except Exception:
            log.exception("a reply failed")
            await self._close(partial(message.fail, "internal_error", INTERNAL_ERROR))
        else:
            await self._close(partial(message.finish, self._finish_reason))

    async def _write(self) -> None:
        if self._refusal or self._spec is None:
            raise self._refusal or ModelNotFound()
        events = get_runtime().pool.generate(self._spec, self._request)
        async with contextlib.aclosing(events):
            async for event in events:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Started():
                self.phase = "reading"
                self.message.prompt_tokens = event.prompt_tokens
                self.message.cached_tokens = event.cached_tokens
                self.message.cache_note = cache_note(event.cache)
            case Progress():
                self.read_fraction = event.processed_tokens / max(1, event.total_tokens)
            case Text(index=0) | Thinking(index=0):
                self._add(event)
            case Finished(index=0):
                self._finish_reason = event.reason
            case Done():
                self._count(event)
            case _:
                return
        await self._announce()
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._saved_at = time.monotonic()
            await database_sync_to_async(self.message.keep)(self.text, self.thinking)

    def _add(self, event: Text | Thinking) -> None:
        if self.phase != "writing":
            self.phase = "writing"
            self.message.first_token_seconds = time.monotonic() - self._began
        if isinstance(event, Text):
            self.text += event.text
        else:
            self.thinking += event.text

    def _count(self, done: Done) -> None:
        usage, message = done.usage, self.message
        message.prompt_tokens = usage.prompt_tokens
        message.completion_tokens = usage.completion_tokens
        message.cached_tokens = usage.cached_tokens
        message.tokens_per_second = done.timing.tokens_per_second(usage.completion_tokens) or None

    async def _close(self, end: Callable[[], None]) -> None:
        self.message.content = self.text.strip("\n").rstrip()
        self.message.thinking = self.thinking.strip()
        try:
            await database_sync_to_async(end)()
        finally:
            _live.pop(self.conversation_id, None)
            self.phase = "over"
            await self._announce()
            await nudge(self.conversation_id)

    async def _announce(self) -> None:
        self.version += 1
        async with self._changed:
            self._changed.notify_all()
