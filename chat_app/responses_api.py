"""/v1/responses: create, retrieve, delete, cancel; the items of one; the tokens of a prompt."""

from typing import Annotated, Any, Literal

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from msgspec import Meta

from chat_app import answers, background
from chat_app.answering import asked_of, dialect_view
from chat_app.responses import Answering, conversation_of, streamed
from chat_app.stored import StoredResponse
from chat_app.tokens_api import tokens_of
from mlxgui.api import add_warnings, json_response
from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.openapi.operations import MODEL, Query, operation
from mlxgui.wire import EVENT_STREAM, Parsed, responses
from mlxgui.wire.responses_body import Body, CountBody, ItemIn

MOST_ITEMS = 100


async def _create(request: HttpRequest) -> HttpResponseBase:
    given = responses.read(request.body)
    items = await conversation_of(given)
    parsed = responses.parsed_with(given, items, responses.unknown(request.body))
    answering = Answering(parsed)
    if given.background:
        await asked_of(responses, parsed, request.path)
        await background.begin(answering)
        return add_warnings(_begun(answering), parsed.warnings)
    first, events, warnings = await answering.begin()
    if given.stream:
        return add_warnings(streamed(answering.frames(first, events)), warnings)
    await answering.finish(first, events)
    return add_warnings(json_response(answering.response), warnings)


def _begun(answering: Answering) -> HttpResponseBase:
    events = background.log_of(answering.id)
    if answering.parsed.stream and events is not None:
        return streamed(events.frames())
    return json_response(answering.response)


async def _one(request: HttpRequest, id: str) -> HttpResponseBase:
    row = await sync_to_async(StoredResponse.objects.find)(id)
    if request.method == "DELETE":
        await background.cancel(id)
        await row.adelete()
        return json_response({"id": id, "object": "response.deleted", "deleted": True})
    if request.GET.get("stream", "false").lower() == "true":
        return _watched(request, id)
    return json_response(background.as_it_is(row))


def _watched(request: HttpRequest, id: str) -> HttpResponseBase:
    """Its events again, or those after a number, and those that are still to come."""
    given = request.GET.get("starting_after", "")
    if given and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise BadRequest("starting_after is the number of an event.", param="starting_after")
    events = background.log_of(id)
    if events is None:
        raise Unsupported(
            "The events of this response are not kept: only those of the last responses made in"
            " the background are. Leave stream out to have it whole.",
            param="stream",
        )
    return streamed(events.frames(int(given) if given else -1))


async def _cancel(request: HttpRequest, id: str) -> HttpResponse:
    row = await sync_to_async(StoredResponse.objects.find)(id)
    if not row.response["background"]:
        raise BadRequest("Only a response made with background: true can be cancelled.")
    await background.cancel(id)
    return json_response(background.as_it_is(await sync_to_async(StoredResponse.objects.find)(id)))


async def _input_items(request: HttpRequest, id: str) -> HttpResponse:
    row = await sync_to_async(StoredResponse.objects.find)(id)
    order, limit = request.GET.get("order", "desc"), request.GET.get("limit", "20")
    if order not in ("asc", "desc"):
        raise BadRequest("order must be asc or desc.", param="order")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= MOST_ITEMS):
        raise BadRequest(f"limit must be from 1 to {MOST_ITEMS}.", param="limit")
    items = row.given if order == "asc" else row.given[::-1]
    if after := request.GET.get("after"):
        places = [i for i, item in enumerate(items) if item.id == after]
        if not places:
            raise BadRequest(f"There is no item “{after}”.", param="after")
        items = items[places[0] + 1 :]
    return json_response(page(items, int(limit)))


def page(items: list[ItemIn], limit: int) -> dict[str, Any]:
    shown = items[:limit]
    return {
        "object": "list",
        "data": [listed(item) for item in shown],
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
        "has_more": len(items) > limit,
    }


def listed(item: ItemIn) -> dict[str, Any]:
    """An item with its type, and its text as a part, whatever it was sent as."""
    shown: dict[str, Any] = {"type": item.type, **msgspec.to_builtins(item)}
    if item.type == "message" and isinstance(item.content, str):
        kind = "output_text" if item.role == "assistant" else "input_text"
        shown["content"] = [{"type": kind, "text": item.content}]
    return shown


async def _count(request: HttpRequest) -> HttpResponse:
    given = responses.read_count(request.body)
    prompt = responses.prompt_of(given, await conversation_of(given))
    parsed = Parsed(
        model=given.model,
        request=prompt,
        adapter=given.adapter_path or "",
        adapter_param="adapter_path",
    )
    ids = await tokens_of(responses, parsed, request.path)
    return json_response({"object": "response.input_tokens", "input_tokens": len(ids)})


create = operation(
    summary="A response, streamed, whole or in the background.",
    body=Body,
    answer=answers.Response,
    media=(EVENT_STREAM,),
    refuses=MODEL,
)(dialect_view(responses, _create))
one = operation(
    "GET",
    summary="A stored response, or its events where it was made in the background.",
    query=(
        Query("stream", bool, "its events instead"),
        Query("starting_after", Annotated[int, Meta(ge=0)], "the number of the event before"),
    ),
    answer=answers.Response,
    media=(EVENT_STREAM,),
    refuses=(404,),
)(
    operation("DELETE", summary="Forget it.", answer=answers.ResponseDeleted, refuses=(404,))(
        dialect_view(responses, _one, "GET", "DELETE")
    )
)
cancel_one = operation(
    summary="Stop a response in the background.", answer=answers.Response, refuses=(404,)
)(dialect_view(responses, _cancel))
input_items = operation(
    summary="What a stored response was asked.",
    query=(
        Query("order", Literal["asc", "desc"], "desc if not given"),
        Query("limit", Annotated[int, Meta(ge=1, le=MOST_ITEMS)], "20 if not given"),
        Query("after", str, "the id of the item before the first"),
    ),
    answer=answers.InputItems,
    refuses=(404,),
)(dialect_view(responses, _input_items, "GET"))
count = operation(
    summary="How many tokens a body of /v1/responses would be.",
    body=CountBody,
    answer=answers.InputTokens,
    refuses=MODEL,
)(dialect_view(responses, _count))
