"""/v1/audio/transcriptions and /v1/audio/translations: a clip in a form, its text in five formats.

Source: OpenAI's API reference (audio).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mlxgui.engine.errors import BadRequest, Unsupported
from mlxgui.engine.tasks import Heard, Segment, TranscribeRequest
from mlxgui.engine.types import Alive, Done, Event
from mlxgui.wire import EVENT_STREAM, JSON, sse
from mlxgui.wire.audio_subtitles import srt, vtt
from mlxgui.wire.errors import openai_error
from mlxgui.wire.tasks import Answer, Form, ParsedTask, Stream, from_form

PLAIN = "text/plain; charset=utf-8"
MAX_FILE_BYTES = 25 << 20

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]


class TranslationForm(Struct, kw_only=True):
    file: bytes
    model: Annotated[str, Meta(min_length=1)]
    language: str = ""
    """Of the clip, ISO 639-1; empty = found by the model."""
    prompt: str = ""
    response_format: Format = "json"
    temperature: Annotated[float, Meta(ge=0, le=1)] = 0.0
    stream: bool = False
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0


class TranscriptionForm(TranslationForm, kw_only=True):
    timestamp_granularities: list[Literal["word", "segment"]] = []
    chunking_strategy: str = "auto"
    include: list[str] = []


class SegmentOut(Struct):
    """One stretch as OpenAI's verbose_json has it; times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class WordOut(Struct):
    word: str
    start: float
    end: float


class Lasted(Struct):
    seconds: float
    type: str = "duration"


class Transcription(Struct):
    text: str
    usage: Lasted


class VerboseTranscription(Struct, omit_defaults=True):
    task: str
    language: str
    duration: float
    text: str
    usage: Lasted
    segments: list[SegmentOut] | None = None
    words: list[WordOut] | None = None


class Transcript:
    """Whole texts of what comes in pieces: one space between them where both sides want it."""

    def __init__(self) -> None:
        self._raw = ""

    def add(self, text: str) -> str:
        """What the text grew by, without white space at its ends."""
        before = len(self.text)
        glue = " " if self._raw and self._raw[-1].isascii() and text[:1].isalnum() else ""
        if not text[:1].isascii():
            glue = ""
        self._raw += glue + text
        return self.text[before:]

    @property
    def text(self) -> str:
        return self._raw.strip()


class Encoder:
    """Server-sent events: a delta for each stretch, then the whole."""

    def __init__(self) -> None:
        self._transcript = Transcript()
        self._seconds = 0.0

    def feed(self, event: Event) -> bytes:
        match event:
            case Segment(text):
                delta = self._transcript.add(text)
                return sse.data({"type": "transcript.text.delta", "delta": delta}) if delta else b""
            case Heard(_, seconds):
                self._seconds = seconds
            case Alive():
                return b": still working\n\n"
            case Done():
                text, usage = self._transcript.text, Lasted(round(self._seconds, 3))
                return sse.data({"type": "transcript.text.done", "text": text, "usage": usage})
        return b""

    def fail(self, error: Exception) -> bytes:
        return sse.data(openai_error(error))


class Hearing:
    """The dialect of both routes; they differ in what is done and in a few fields."""

    kinds = ("stt",)

    def __init__(self, action: Literal["transcribe", "translate"]) -> None:
        self.action = action
        self.given = TranscriptionForm if action == "transcribe" else TranslationForm

    def parse(self, form: Form) -> ParsedTask:
        asked, unknown = from_form(self.given, form)
        if len(asked.file) > MAX_FILE_BYTES:
            raise BadRequest(f"A file may have {MAX_FILE_BYTES >> 20} MB at most.", param="file")
        if asked.stream and asked.response_format not in ("json", "text"):
            raise BadRequest(
                f"A stream has text only: leave out stream or {asked.response_format}.",
                param="response_format",
            )
        request = TranscribeRequest(
            audio=asked.file,
            action=self.action,
            language=asked.language,
            prompt=asked.prompt,
            temperature=asked.temperature,
            word_times="word" in _granularities(asked),
            priority=asked.priority,
        )
        return ParsedTask(
            model=asked.model,
            request=request,
            stream=Stream(Encoder(), EVENT_STREAM) if asked.stream else None,
            warnings=[f"unknown parameter: {name}" for name in unknown],
            options=asked,
        )

    def complete(self, parsed: ParsedTask, events: list[Event]) -> Answer:
        asked: TranslationForm = parsed.options
        segments = [event for event in events if isinstance(event, Segment)]
        heard = next((event for event in events if isinstance(event, Heard)), Heard())
        transcript = Transcript()
        for segment in segments:
            transcript.add(segment.text)
        match asked.response_format:
            case "text":
                return Answer(f"{transcript.text}\n".encode(), PLAIN)
            case "srt":
                return Answer(srt(segments).encode(), PLAIN)
            case "vtt":
                return Answer(vtt(segments).encode(), "text/vtt; charset=utf-8")
        lasted = Lasted(round(heard.duration_seconds, 3))
        document: Any = Transcription(transcript.text, lasted)
        if asked.response_format == "verbose_json":
            document = VerboseTranscription(
                self.action, heard.language, lasted.seconds, transcript.text, lasted
            )
            _add_times(document, _granularities(asked), segments)
        return Answer(msgspec.json.encode(document), JSON)


def _granularities(asked: TranslationForm) -> list[str]:
    """Which times are wanted. Raises for what the format has no room for, by name."""
    if not isinstance(asked, TranscriptionForm):
        return ["segment"]
    if asked.chunking_strategy != "auto":
        raise Unsupported(
            "chunking_strategy can only be auto: clips are cut where they are quiet.",
            param="chunking_strategy",
        )
    if asked.include:
        raise Unsupported("include is not supported; leave it out.", param="include")
    if asked.timestamp_granularities and asked.response_format != "verbose_json":
        raise BadRequest(
            "timestamp_granularities need response_format verbose_json.",
            param="timestamp_granularities",
        )
    return list(asked.timestamp_granularities) or ["segment"]


def _add_times(document: VerboseTranscription, wanted: list[str], segments: list[Segment]) -> None:
    if "segment" in wanted:
        document.segments = [_segment(number, one) for number, one in enumerate(segments)]
    if "word" in wanted:
        document.words = [
            WordOut(word.text.strip(), round(word.start_seconds, 3), round(word.end_seconds, 3))
            for segment in segments
            for word in segment.words
        ]


def _segment(number: int, one: Segment) -> SegmentOut:
    return SegmentOut(
        id=number,
        seek=round(one.start_seconds * 100),
        start=round(one.start_seconds, 3),
        end=round(one.end_seconds, 3),
        text=one.text,
        tokens=one.tokens,
        temperature=one.temperature,
        avg_logprob=one.average_logprob,
        compression_ratio=one.compression_ratio,
        no_speech_prob=one.no_speech_probability,
    )


transcriptions = Hearing("transcribe")
translations = Hearing("translate")
