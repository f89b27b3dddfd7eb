"""Text to speech over mlx-audio: sentence by sentence, into the file that was asked for."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mlx_audio.tts.utils import load_model

from mlxgui.engine.backends.resampling import Samples
from mlxgui.engine.backends.speech_files import SoundWriter, sound
from mlxgui.engine.backends.speech_tempo import stretched
from mlxgui.engine.backends.speech_text import sentences
from mlxgui.engine.backends.turns import Chunk, Prepared, TurnBackend
from mlxgui.engine.errors import BadRequest, EngineError, Unsupported
from mlxgui.engine.tasks import Sound, SpeakRequest

PIECE_SECONDS = 0.5
"""Of sound in one chunk, with models that can stop in the midst of a sentence."""
VOICE_FOLDERS = ("voices", "embeddings")
VOICE_FILES = (".safetensors", ".pt", ".npz")


class Speaking(Prepared, kw_only=True):
    pieces: list[str]
    options: dict[str, Any]


class SpeechBackend(TurnBackend):
    takes = SpeakRequest
    words = "a speech model; it answers at /v1/audio/speech"

    def open(self, folder: Path) -> dict[str, Any]:
        self.model = load_model(folder)
        self.parameters = set(inspect.signature(self.model.generate).parameters)
        self.voices = voices_of(self.model, folder)
        return {"voices": self.voices, "sample_rate": int(self.model.sample_rate)}

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return self.voices if name == "voices" else super().call(name, arguments)

    def check(self, request: SpeakRequest) -> Speaking:
        pieces = sentences(request.text)
        if not pieces:
            raise BadRequest("There is nothing to say.", param="input")
        return Speaking(request=request, pieces=pieces, options=self._options(request))

    def _options(self, request: SpeakRequest) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if request.voice:
            options["voice"] = self._voice(request.voice)
        if request.speed != 1 and self._has_speed:
            options["speed"] = request.speed
        given = {"lang_code": request.language, "instruct": request.instructions}
        for name, value in given.items():
            if value and name not in self.parameters:
                param = "instructions" if name == "instruct" else "language"
                raise Unsupported(f"“{self.spec.name}” takes no {param}.", param=param)
            if value:
                options[name] = value
        if {"stream", "streaming_interval"} <= self.parameters:
            options |= {"stream": True, "streaming_interval": PIECE_SECONDS}
        return options

    @property
    def _has_speed(self) -> bool:
        return "speed" in self.parameters

    def _voice(self, given: str) -> str:
        """Names only: the libraries would take a path or an address for a voice, too."""
        for voice in self.voices:
            if voice.lower() == given.lower():
                return voice
        if not self.voices:
            raise BadRequest(
                f"“{self.spec.name}” has one voice, without a name. Send an empty voice.",
                param="voice",
            )
        raise BadRequest(
            f"“{self.spec.name}” has no voice “{given}”. It has: {', '.join(self.voices)}.",
            param="voice",
        )

    def chunks(self, prepared: Speaking) -> Iterator[Chunk]:
        request: SpeakRequest = prepared.request
        writer: SoundWriter | None = None
        for piece in prepared.pieces:
            prepared.prompt_tokens += len(piece.split())
            for samples, rate, is_end in self._said(piece, request.speed, prepared.options):
                writer = writer or SoundWriter(request.format, rate, stream=request.stream)
                data = writer.feed(samples)
                events = [Sound(data, writer.rate)] if data else []
                yield Chunk(list(events), pause=is_end)
        if writer is None:
            raise EngineError("The model said nothing.")
        yield Chunk([Sound(writer.finish(), writer.rate)])

    def _said(
        self, piece: str, speed: float, options: dict[str, Any]
    ) -> Iterator[tuple[Samples, int, bool]]:
        """(samples, their rate, whether the sentence is over) as the model makes them."""
        kept, rate = [], int(self.model.sample_rate)
        for result in self.model.generate(text=piece, **options):
            rate = int(getattr(result, "sample_rate", None) or rate)
            samples = sound(np.array(result.audio))
            if speed == 1 or self._has_speed:
                yield samples, rate, False
            else:
                kept.append(samples)  # the tempo changes over a whole sentence
                yield np.zeros(0, np.float32), rate, False
        rest = stretched(np.concatenate(kept), rate, speed) if kept else np.zeros(0, np.float32)
        yield rest, rate, True


def voices_of(model: Any, folder: Path) -> list[str]:
    """Names of voices that lie in the folder, or that the model itself has."""
    names = {
        file.stem
        for room in VOICE_FOLDERS
        for file in (folder / room).glob("*")
        if file.suffix in VOICE_FILES
    }
    if callable(listed := getattr(model, "get_supported_speakers", None)):
        names.update(str(name) for name in listed() or [])
    if isinstance(own := getattr(model, "voices", None), dict):
        names.update(str(name) for name in own)
    return sorted(names)


def make() -> SpeechBackend:
    return SpeechBackend()
