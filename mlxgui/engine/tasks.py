"""What is asked of models that do not chat, and what comes out of them. Data only.

Each task is answered like a generation: `Started`, the events below, `Done`.
"""

from typing import Literal

from msgspec import Struct

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


class RerankRequest(Task, frozen=True, kw_only=True, tag="rerank"):
    query: str
    documents: list[str]


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


class DrawRequest(Task, frozen=True, kw_only=True, tag="draw"):
    """Sizes in pixels. With `image` it is an edit; `mask` is transparent where to draw."""

    prompt: str
    n: int = 1
    width: int = 0
    height: int = 0
    steps: int = 0
    guidance: float | None = None
    seed: int | None = None
    negative_prompt: str = ""
    image: bytes = b""
    mask: bytes = b""


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
    """The next samples: mono, little-endian float32."""

    samples: bytes
    sample_rate: int


class Picture(Struct, frozen=True, tag="picture"):
    """A finished picture as PNG."""

    index: int
    data: bytes


AskedTask = EmbedRequest | RerankRequest | TranscribeRequest | SpeakRequest | DrawRequest
TaskEvent = Embedded | Ranked | Segment | Heard | Sound | Picture
