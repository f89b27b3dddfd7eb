"""One response of /v1/responses from its body to what is stored of it, streamed or whole."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from msgspec.structs import replace

from chat_app.answering import events_of, first_of
from chat_app.stored import StoredResponse, with_ids
from mlxgui.engine.errors import ContextOverflow, EngineError
from mlxgui.engine.types import Done, Event, Message
from mlxgui.wire import EVENT_STREAM, Parsed, responses
from mlxgui.wire.responses_answer import ResponseEncoder
from mlxgui.wire.responses_body import CountBody, ItemIn

ROUTE = "/v1/responses"


async def conversation_of(given: CountBody) -> list[ItemIn]:
    """What is stored of the conversation, then what this body adds. Raises BadRequest."""
    return await sync_to_async(_conversation)(given)


def _conversation(given: CountBody) -> list[ItemIn]:
    rows = StoredResponse.objects
    before = rows.history(given.previous_response_id) if given.previous_response_id else []
    return [*before, *rows.resolved(responses.items_of(given))]


class Answering:
    """One request on its way."""

    def __init__(self, parsed: Parsed) -> None:
        self.parsed = parsed
        self.encoder = ResponseEncoder(parsed)
        self._given = with_ids(responses.items_of(parsed.options.given), self.id)

    @property
    def id(self) -> str:
        return str(self.response["id"])

    @property
    def response(self) -> dict[str, Any]:
        return self.encoder.response

    async def begin(self) -> tuple[Event, AsyncGenerator[Event], list[str]]:
        """The first event, those that follow, warnings. Raises EngineError for what is refused.

        With truncation “auto” a conversation that is too long loses its oldest turns.
        """
        parsed = self.parsed
        while True:
            events = await events_of(responses, parsed, ROUTE)
            try:
                first, notes = await first_of(events)
                return first, events, [*parsed.warnings, *notes]
            except ContextOverflow:
                shorter = without_oldest_turn(parsed.request.messages)
                if parsed.options.given.truncation != "auto" or shorter is None:
                    raise
                parsed = replace(parsed, request=replace(parsed.request, messages=shorter))

    async def finish(self, first: Event, events: AsyncGenerator[Event]) -> None:
        """To the end, without anybody who watches."""
        async with contextlib.aclosing(self.frames(first, events)) as frames:
            async for _ in frames:
                pass

    async def frames(self, first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
        """The stream's bytes. The response is stored before a client learns that it is complete."""
        async with contextlib.aclosing(events):
            yield self.encoder.feed(first)
            try:
                async for event in events:
                    frame = self.encoder.feed(event)
                    if isinstance(event, Done):
                        await self.keep()
                    if frame:
                        yield frame
            except EngineError as error:
                frame = self.encoder.fail(error)
                await self.keep()
                yield frame

    async def keep(self) -> None:
        if self.parsed.options.is_stored:
            await sync_to_async(StoredResponse.objects.keep)(self.response, self._given)


def streamed(frames: AsyncGenerator[bytes]) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(frames, content_type=EVENT_STREAM)
    answer["Cache-Control"], answer["X-Accel-Buffering"] = "no-cache", "no"
    return answer


def without_oldest_turn(messages: list[Message]) -> list[Message] | None:
    """The conversation from its second question on; None where there is only one."""
    head = [message for message in messages if message.role in ("system", "developer")]
    rest = [message for message in messages if message.role not in ("system", "developer")]
    later = (i for i, message in enumerate(rest) if i and message.role == "user")
    second = next(later, None)
    return None if second is None else [*head, *rest[second:]]
