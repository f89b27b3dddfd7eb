"""Models that do not chat: embeddings, reranking, speech both ways, pictures."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from msgspec import Meta, Struct

from chat_app.kinds import check_kind
from chat_app.task_answering import body_view, form_view
from mlxgui.api import json_api, json_response
from mlxgui.engine.errors import BadRequest
from mlxgui.openapi.operations import MODEL, Query, operation
from mlxgui.runtime import get_runtime
from mlxgui.wire import EVENT_STREAM, audio_heard, audio_spoken, embeddings, images, rerank
from models_app.adapters import aspec_for

PICTURES_BYTES = images.MAX_PICTURE_BYTES * (images.MAX_PICTURES_IN + 1)
TEXTS = (audio_heard.PLAIN, "text/vtt; charset=utf-8", EVENT_STREAM)

embed = body_view(
    embeddings, summary="Vectors of texts, of unit length.", answer=embeddings.Embeddings
)
rank = body_view(rerank, summary="Documents sorted by how well they answer.", answer=rerank.Ranking)
transcribe = form_view(
    audio_heard.transcriptions,
    audio_heard.MAX_FILE_BYTES,
    summary="What is said in a clip.",
    answer=audio_heard.Transcription | audio_heard.VerboseTranscription,
    media=TEXTS,
)
translate = form_view(
    audio_heard.translations,
    audio_heard.MAX_FILE_BYTES,
    summary="What is said in a clip, in English.",
    answer=audio_heard.Transcription | audio_heard.VerboseTranscription,
    media=TEXTS,
)
speak = body_view(
    audio_spoken,
    summary="A text as speech: a sound file, whole or as it is made.",
    media=(*audio_spoken.CONTENT_TYPES.values(), EVENT_STREAM),
)
draw = body_view(
    images.generations, summary="Pictures of what a prompt says.", answer=images.Pictures
)
edit = form_view(
    images.edits,
    PICTURES_BYTES,
    summary="A picture changed as a prompt says.",
    answer=images.Pictures,
)


class Voices(Struct):
    model: str
    voices: list[str]


@operation(
    "GET",
    query=(Query("model", Annotated[str, Meta(min_length=1)], "a speech model"),),
    answer=Voices,
    refuses=MODEL,
)
@json_api("GET")
async def voices(request: HttpRequest) -> HttpResponse:
    """The voices of a speech model; loads it where needed."""
    name = request.GET.get("model", "")
    if not name:
        raise BadRequest("Say which model: /v1/audio/voices?model=NAME", param="model")
    model, spec = await aspec_for(name)
    check_kind(model, audio_spoken.kinds, request.path)
    found = await get_runtime().pool.call(spec, "voices")
    return json_response(Voices(model.name, found))
