"""Ollama's routes about models: which there are, what they are, fetching and deleting them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from msgspec import Struct

from chat_app import ollama_answers, ollama_shapes
from chat_app.answering import dialect_view
from mlxgui.api import View, json_response
from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.openapi.operations import operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import LINES, fields, ollama_chat
from mlxgui.wire.errors import Refused
from mlxgui.wire.ollama_request import plain_name
from models_app import removal
from models_app.adapters import aspec_for
from models_app.downloads import Download
from models_app.models import Model

LOOK_SECONDS = 0.3
HUBS = ("hf.co/", "huggingface.co/", "https://hf.co/", "https://huggingface.co/")

Handler = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]


class Which(Struct, kw_only=True):
    """`name` is the older word for `model`."""

    model: str = ""
    name: str = ""
    verbose: bool | None = None

    @property
    def wanted(self) -> str:
        found = plain_name(self.model or self.name)
        if not found:
            raise BadRequest("model is missing.", param="model")
        return found


class Pull(Which, kw_only=True):
    stream: bool | None = True
    insecure: bool | None = None


_which = msgspec.json.Decoder(Which)
_pull_body = msgspec.json.Decoder(Pull)


async def _tags(request: HttpRequest) -> HttpResponse:
    rows = [model async for model in Model.objects.ready()]
    return json_response({"models": [ollama_shapes.tag(model) for model in rows]})


async def _show(request: HttpRequest) -> HttpResponse:
    model, _ = await aspec_for(fields.decode(_which, request.body).wanted)
    return json_response(await sync_to_async(ollama_shapes.shown)(model))


async def _ps(request: HttpRequest) -> HttpResponse:
    ready = [one for one in get_runtime().pool.residents() if one.state == "ready"]
    rows = {model.path: model async for model in Model.objects.all()}
    known = [ollama_shapes.running(rows[one.path], one) for one in ready if one.path in rows]
    return json_response({"models": known})


async def _version(request: HttpRequest) -> HttpResponse:
    return json_response(ollama_shapes.version())


async def _delete(request: HttpRequest) -> HttpResponse:
    model = await Model.objects.aresolve(fields.decode(_which, request.body).wanted)
    await sync_to_async(removal.check_may_go)(model)
    await get_runtime().pool.unload(model.key)
    await sync_to_async(removal.remove)(model)
    return HttpResponse(status=200)


# -- pull -----------------------------------------------------------------------------------------


async def _pull(request: HttpRequest) -> HttpResponseBase:
    given = fields.decode(_pull_body, request.body)
    if given.insecure:
        raise BadRequest("Downloads are always checked; leave insecure out.", param="insecure")
    repository = repository_of(given.wanted)
    here = await Model.objects.filter(huggingface_id=repository, error_message="").afirst()
    download = None if here else await sync_to_async(begin)(repository)
    if given.stream is not False:
        return StreamingHttpResponse(_lines(download), content_type=LINES)
    async for status in progress(download):
        if "error" in status:
            raise EngineError(status["error"])
    return json_response({"status": "success"})


def repository_of(name: str) -> str:
    """A repository of the hub, however Ollama's clients call it. A tag behind it is dropped."""
    for hub in HUBS:
        name = name.removeprefix(hub)
    return name.partition(":")[0]


def begin(repository: str) -> Download:
    """Blocking. Raises BadRequest for what is no repository."""
    try:
        return Download.objects.begin(repository)
    except BadRequest as error:
        raise BadRequest(error.message, param="model") from None


async def progress(download: Download | None) -> AsyncIterator[dict[str, Any]]:
    """What to say while it arrives; the last says "success" or has an `error`. None: it is here."""
    yield {"status": "pulling manifest"}
    said: dict[str, Any] = {}
    while download is not None and download.status != Download.Status.SUCCEEDED:
        if download.status in (Download.Status.FAILED, Download.Status.CANCELLED):
            yield {"error": download.error or "The download was cancelled."}
            return
        now = step_of(download)
        if now != said:
            yield now
            said = now
        await asyncio.sleep(LOOK_SECONDS)
        download = await Download.objects.filter(pk=download.pk).afirst()
        if download is None:
            yield {"error": "The download was removed."}
            return
    yield {"status": "verifying sha256 digest"}
    yield {"status": "success"}


def step_of(download: Download) -> dict[str, Any]:
    if not download.total_bytes:
        return {"status": "pulling manifest"}
    return {
        "status": f"pulling {download.repository}",
        "digest": str(download.uuid),
        "total": download.total_bytes,
        "completed": download.done_bytes,
    }


async def _lines(download: Download | None) -> AsyncIterator[bytes]:
    async for status in progress(download):
        yield msgspec.json.encode(status) + b"\n"


# -- what is not done here ------------------------------------------------------------------------


def _not_here(what: str) -> Handler:
    async def refuse(request: HttpRequest) -> HttpResponse:
        raise Refused(501, "not_implemented", what)

    return refuse


def ollama(handler: Handler, *methods: str, summary: str, **said: Any) -> View:
    return operation(summary=summary, **said)(dialect_view(ollama_chat, handler, *methods))


tags = ollama(_tags, "GET", summary="The models that can be run, as Ollama lists them.",
              answer=ollama_answers.Tags)  # fmt: skip
show = ollama(_show, summary="What a model is, as Ollama's API has it.", body=Which,
              answer=ollama_answers.Shown, refuses=(404, 503))  # fmt: skip
ps = ollama(_ps, "GET", summary="The models in memory, as Ollama lists them.",
            answer=ollama_answers.Processes)  # fmt: skip
version = ollama(_version, "GET", summary="The version of Ollama's API that is followed.",
                 answer=ollama_answers.Version)  # fmt: skip
delete = ollama(_delete, "DELETE", summary="Delete a model, as Ollama's API has it.", body=Which,
                media=("text/html",), refuses=(404,))  # fmt: skip
pull = ollama(_pull, summary="Fetch a repository of the hub, as Ollama's API has it.", body=Pull,
              answer=ollama_answers.Pulled, media=(LINES,), refuses=(500,))  # fmt: skip
copy = ollama(_not_here("Models cannot be copied here; give one another name in the library."),
              summary="Not served: models are not copied.", refuses=(501,))  # fmt: skip
create = ollama(_not_here("Models are not made from a Modelfile here; use the library's settings"
                          " and profiles."),
                summary="Not served: there are no Modelfiles.", refuses=(501,))  # fmt: skip
push = ollama(_not_here("Models are not published from here."),
              summary="Not served: models are not published.", refuses=(501,))  # fmt: skip
