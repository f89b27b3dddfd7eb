"""/v1/audio/speech: text in, a sound file out, whole or as it is made.

Source: OpenAI's API reference (audio); `stream`, `instruct` and `lang_code` as the mlx-vlm server
has them.
"""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.tasks import Sound, SoundFormat, SpeakRequest
from mlxgui.engine.types import Alive, Done, Event
from mlxgui.wire import EVENT_STREAM, fields, sse
from mlxgui.wire.errors import openai_error
from mlxgui.wire.tasks import Answer, ParsedTask, Stream

MAX_LETTERS = 4096
CONTENT_TYPES: dict[SoundFormat, str] = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
}

kinds = ("tts",)


class NamedVoice(Struct):
    id: str


class SpeechBody(Struct, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    input: Annotated[str, Meta(min_length=1, max_length=MAX_LETTERS)]
    voice: str | NamedVoice | None = None
    """A name that GET /v1/audio/voices lists; empty = the model's own choice."""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    instructions: str | None = None
    instruct: str | None = None
    stream_format: Literal["audio", "sse"] | None = None
    stream: bool | None = None
    lang_code: str | None = None
    ref_audio: str | None = None
    ref_text: str | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None


given = SpeechBody
_decoder = msgspec.json.Decoder(SpeechBody)
_known = fields.struct_fields(SpeechBody)


def parse(body: bytes) -> ParsedTask:
    asked = fields.decode(_decoder, body)
    if not asked.input.strip():
        raise BadRequest("input has no words to say.", param="input")
    for name in ("ref_audio", "ref_text"):
        if getattr(asked, name):
            raise Unsupported(f"{name} is not supported: choose a voice by its name.", param=name)
    voice = asked.voice.id if isinstance(asked.voice, NamedVoice) else asked.voice
    format, stream = _format(asked), _stream(asked)
    request = SpeakRequest(
        text=asked.input,
        voice=voice or "",
        speed=asked.speed or 1.0,
        language=asked.lang_code or "",
        instructions=asked.instructions or asked.instruct or "",
        format=format,
        stream=stream is not None,
        priority=asked.priority or 0,
    )
    return ParsedTask(
        model=asked.model,
        request=request,
        stream=stream,
        warnings=[f"unknown parameter: {n}" for n in fields.unknown_fields(body, _known)],
    )


def _format(asked: SpeechBody) -> SoundFormat:
    if asked.response_format == "aac":
        others = ", ".join(CONTENT_TYPES)
        raise Unsupported(f"There is no AAC encoder here. Use {others}.", param="response_format")
    return asked.response_format or "mp3"


def complete(parsed: ParsedTask, events: list[Event]) -> Answer:
    assert isinstance(parsed.request, SpeakRequest)
    data = b"".join(event.data for event in events if isinstance(event, Sound))
    return Answer(data, CONTENT_TYPES[parsed.request.format])


def _stream(asked: SpeechBody) -> Stream | None:
    if asked.stream_format == "sse":
        return Stream(EventEncoder(), EVENT_STREAM)
    if asked.stream or asked.stream_format:
        return Stream(FileEncoder(), CONTENT_TYPES[_format(asked)])
    return None


class FileEncoder:
    """The file's own bytes, and nothing between them."""

    def feed(self, event: Event) -> bytes:
        return event.data if isinstance(event, Sound) else b""

    def fail(self, error: Exception) -> bytes:
        """A file that breaks off must not look whole: the connection ends with it."""
        raise error


class EventEncoder:
    def feed(self, event: Event) -> bytes:
        match event:
            case Sound(data):
                audio = base64.b64encode(data).decode()
                return sse.data({"type": "speech.audio.delta", "audio": audio})
            case Alive():
                return b": still working\n\n"
            case Done(usage):
                tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": 0}
                tokens["total_tokens"] = usage.prompt_tokens
                return sse.data({"type": "speech.audio.done", "usage": tokens})
        return b""

    def fail(self, error: Exception) -> bytes:
        return sse.data(openai_error(error))
