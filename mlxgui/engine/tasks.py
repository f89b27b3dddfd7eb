"""What is asked of models that do not chat, and what comes out of them. Data only.

Each task is answered like a generation: `Started`, the events below, `Done`.
"""

from typing import Literal

from msgspec import Struct

SoundFormat = Literal["wav", "mp3", "flac", "opus", "pcm"]
PictureFormat = Literal["png", "jpeg", "webp"]

# -- what is asked --------------------------------------------------------------------------------


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every request may say, whatever it asks for."""

    priority: int = 0
    """Higher goes first among those that wait: chat page 10, API 0, batch -10."""
    timeout_seconds: float = 0.0
    """From arrival to the last event; 0 = no bound."""
    keep_alive_seconds: float | None = None
    """Idle time after this request before the model may be unloaded. None = as the model says;
    negative = never."""


class EmbedRequest(Task, frozen=True, kw_only=True, tag="embed"):
    """Texts, or texts as token ids; one vector comes back for each."""

    inputs: list[str | list[int]]
    dimensions: int = 0
    """Leading numbers to keep, normalised again; 0 = all."""
    truncate: bool = False
    """Cut an input that is too long instead of refusing it."""


class RerankRequest(Task, frozen=True, kw_only=True, tag="rerank"):
    query: str
    documents: list[str]
    instruction: str = ""
    """What makes a document relevant, for models that can be told; empty = the model's own."""


class TranscribeRequest(Task, frozen=True, kw_only=True, tag="transcribe"):
    """`audio` is a file's bytes; its format is told from its content."""

    audio: bytes
    action: Literal["transcribe", "translate"] = "transcribe"
    language: str = ""
    """ISO 639-1; empty = found by the model."""
    prompt: str = ""
    temperature: float = 0.0
    word_times: bool = False


class SpeakRequest(Task, frozen=True, kw_only=True, tag="speak"):
    text: str
    voice: str = ""
    speed: float = 1.0
    language: str = ""
    instructions: str = ""
    format: SoundFormat = "wav"
    stream: bool = False
    """Send pieces of the file as they come. False = one `Sound` with all of it."""


class DrawRequest(Task, frozen=True, kw_only=True, tag="draw"):
    """Sizes in pixels, 0 = as the model or the picture has it. With `images` it is an edit;
    `mask` is transparent where to draw."""

    prompt: str
    n: int = 1
    width: int = 0
    height: int = 0
    steps: int = 0
    guidance: float | None = None
    seed: int | None = None
    negative_prompt: str = ""
    images: list[bytes] = []
    mask: bytes = b""
    format: PictureFormat = "png"
    quality: int = 90
    """Of JPEG and WebP, 1 to 100."""


# -- what came out --------------------------------------------------------------------------------


class Embedded(Struct, frozen=True, tag="embedded"):
    """A vector of unit length as little-endian float32."""

    index: int
    vector: bytes


class Ranked(Struct, frozen=True, tag="ranked"):
    index: int
    score: float


class Word(Struct, frozen=True):
    text: str
    start_seconds: float
    end_seconds: float


class Segment(Struct, frozen=True, tag="segment", omit_defaults=True):
    """A stretch of speech and its text."""

    text: str
    start_seconds: float
    end_seconds: float
    tokens: list[int] = []
    average_logprob: float = 0.0
    no_speech_probability: float = 0.0
    temperature: float = 0.0
    compression_ratio: float = 0.0
    words: list[Word] = []


class Heard(Struct, frozen=True, tag="heard", omit_defaults=True):
    """What is known of a clip as a whole."""

    language: str = ""
    duration_seconds: float = 0.0


class Sound(Struct, frozen=True, tag="sound"):
    """The next bytes of the file that was asked for; "pcm" is mono 16-bit little-endian."""

    data: bytes
    sample_rate: int


class Picture(Struct, frozen=True, tag="picture"):
    """A finished picture in the format asked for; its size in pixels."""

    index: int
    data: bytes
    width: int = 0
    height: int = 0
    seed: int = 0


AskedTask = EmbedRequest | RerankRequest | TranscribeRequest | SpeakRequest | DrawRequest
TaskEvent = Embedded | Ranked | Segment | Heard | Sound | Picture
