"""Speech to text over mlx-audio: a clip in windows of 30 s, one window a chunk."""

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_audio.stt.models.whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE
from mlx_audio.stt.utils import load_model

from mlxgui.engine.backends.hearing_clips import RATE, Clip, is_silent
from mlxgui.engine.backends.turns import Chunk, Prepared, TurnBackend
from mlxgui.engine.errors import BadRequest, LoadFailed, Unsupported
from mlxgui.engine.tasks import Heard, Segment, TranscribeRequest, Word

PROMPT_NAMES = ("initial_prompt", "context", "system_prompt", "prompt")
"""What the models' own functions call the text that a clip is heard with."""


class Listening(Prepared, kw_only=True):
    clip: Any
    options: dict[str, Any]


class HearingBackend(TurnBackend):
    takes = TranscribeRequest
    words = "a speech recognition model; it answers at /v1/audio/transcriptions"

    def open(self, folder: Path) -> dict[str, Any]:
        self.model = load_model(folder)
        if getattr(self.model, "_processor", self) is None:
            raise LoadFailed(
                f"“{self.spec.name}” has no tokenizer that fits it. Download the model again."
            )
        self.parameters = set(inspect.signature(self.model.generate).parameters)
        self.languages = _languages(self.model)
        return {
            "translates": self._translates,
            "word_times": "word_timestamps" in self.parameters,
            "languages": sorted(self.languages),
        }

    @property
    def _translates(self) -> bool:
        return "task" in self.parameters and getattr(self.model, "is_multilingual", True)

    def check(self, request: TranscribeRequest) -> Listening:
        options = self._options(request)
        return Listening(request=request, clip=Clip(request.audio), options=options)

    def _options(self, request: TranscribeRequest) -> dict[str, Any]:
        """Arguments of the model's own function; what it does not take is refused by name."""
        options: dict[str, Any] = {}
        if request.action == "translate":
            if not self._translates:
                raise Unsupported(f"“{self.spec.name}” does not translate.", param="model")
            options["task"] = "translate"
        if request.language:
            options["language"] = self._language(request.language)
        if request.prompt:
            name = next((name for name in PROMPT_NAMES if name in self.parameters), "prompt")
            self._need(name, "prompt", "prompt")
            options[name] = request.prompt
        if request.temperature:
            self._need("temperature", "temperature", "temperature")
            options["temperature"] = request.temperature
        if request.word_times:
            self._need("word_timestamps", "timestamp_granularities", "times of words")
            options["word_timestamps"] = True
        return options

    def _need(self, name: str, param: str, words: str) -> None:
        if name not in self.parameters:
            raise Unsupported(f"“{self.spec.name}” has no {words}; leave it out.", param=param)

    def _language(self, given: str) -> str:
        self._need("language", "language", "choice of language")
        code = TO_LANGUAGE_CODE.get(given.lower(), given.lower())
        if self.languages and code not in self.languages:
            known = ", ".join(sorted(self.languages))
            raise BadRequest(
                f"“{self.spec.name}” does not know the language “{given}”. It knows: {known}.",
                param="language",
            )
        return code

    def chunks(self, prepared: Listening) -> Iterator[Chunk]:
        options, heard_anything = dict(prepared.options), False
        for start, samples in prepared.clip.windows():
            if is_silent(samples):
                yield Chunk([])
                continue
            heard_anything = True
            found = self.model.generate(mx.array(samples), **options)
            if "language" in self.parameters and (language := _get(found, "language")):
                options.setdefault("language", language)  # found once for the whole clip
            yield Chunk(list(segments_of(found, start, len(samples) / RATE)))
        if not heard_anything:
            raise BadRequest("There is only silence in the file.", param="file")
        language = str(options.get("language") or "")
        yield Chunk([Heard(language=language, duration_seconds=prepared.clip.seconds)])


def _languages(model: Any) -> set[str]:
    """ISO 639-1 codes that a Whisper knows; empty where the model does not say."""
    if not hasattr(model, "is_multilingual"):
        return set()
    if not model.is_multilingual:
        return {"en"}
    vocabulary = model.get_tokenizer().hf_tokenizer.get_vocab()
    return {code for code in LANGUAGES if f"<|{code}|>" in vocabulary}


def _get(found: Any, name: str) -> Any:
    """Models answer with objects, and some with dicts."""
    return found.get(name) if isinstance(found, dict) else getattr(found, name, None)


def segments_of(found: Any, start: float, length: float) -> Iterator[Segment]:
    """What a model said of one window; without times of its own the window's count."""
    parts = _get(found, "segments") or _get(found, "sentences") or []
    timed = [part for part in parts if _get(part, "start") is not None]
    for part in timed:
        text = str(_get(part, "text") or "")
        if text.strip():
            yield _segment(part, text, start, length)
    if not timed:
        text = found if isinstance(found, str) else str(_get(found, "text") or "")
        if text.strip():
            yield Segment(text=text, start_seconds=start, end_seconds=start + length)


def _segment(part: Any, text: str, start: float, length: float) -> Segment:
    words = [
        Word(str(word["word"]), _at(word["start"], start, length), _at(word["end"], start, length))
        for word in _get(part, "words") or []
        if isinstance(word, dict)
    ]
    tokens = _get(part, "tokens") or []
    return Segment(
        text=text,
        start_seconds=_at(_get(part, "start"), start, length),
        end_seconds=_at(_get(part, "end"), start, length),
        tokens=[int(token) for token in tokens if not hasattr(token, "text")],
        average_logprob=_number(_get(part, "avg_logprob")),
        no_speech_probability=_number(_get(part, "no_speech_prob")),
        temperature=_number(_get(part, "temperature")),
        compression_ratio=_number(_get(part, "compression_ratio")),
        words=words,
    )


def _at(seconds: Any, start: float, length: float) -> float:
    """Within the clip: a model may time its last word beyond the window that it was given."""
    return start + min(max(_number(seconds), 0.0), length)


def _number(value: Any) -> float:
    number = float(value) if value is not None else 0.0
    return number if math.isfinite(number) else 0.0


def make() -> HearingBackend:
    return HearingBackend()
