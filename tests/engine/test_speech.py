"""Speech: sentences, files of every format, tempo, voices, taking turns."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mlxgui.engine.backends.hearing_clips import Clip
from mlxgui.engine.backends.resampling import Resampler, resampled
from mlxgui.engine.backends.speech_files import SoundWriter, rate_of
from mlxgui.engine.backends.speech_tempo import stretched
from mlxgui.engine.backends.speech_text import LONGEST, sentences
from mlxgui.engine.errors import BadRequest
from mlxgui.engine.tasks import Sound, SoundFormat, SpeakRequest
from tests import tiny_senses
from tests.engine.tasks import file_of, load, of, one

LONG_WORDS = "Incomprehensibly uncharacteristic counterrevolutionaries notwithstanding. "
FORMATS: tuple[SoundFormat, ...] = ("wav", "mp3", "flac", "opus", "pcm")
STARTS = {"wav": b"RIFF", "mp3": b"\xff", "flac": b"fLaC", "opus": b"OggS"}


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load("tts", tiny_senses.make_voice(tmp_path_factory.mktemp("m") / "voice"))


def seconds_of(data: bytes, format: SoundFormat) -> float:
    if format == "pcm":
        return len(data) / 2 / 24_000
    found = Clip(data)
    list(found.windows())
    return found.seconds


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_every_format_is_what_it_says(format: SoundFormat, rate: int, stream: bool) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)).astype(np.float32)
    writer = SoundWriter(format, rate, stream=stream)
    pieces = [writer.feed(piece) for piece in np.array_split(tone, 7)]
    assert bool(b"".join(pieces)) == stream
    data = b"".join([*pieces, writer.finish()])
    assert data.startswith(STARTS.get(format, b""))
    assert data.count(STARTS.get(format, b"none")[:4] + b"none") == 0
    assert seconds_of(data, format) == pytest.approx(3, abs=0.15)
    assert writer.rate == rate_of(format, rate)
    if format == "pcm":
        samples = np.frombuffer(data, "<i2") / 32767
        assert np.argmax(np.abs(np.fft.rfft(samples[:24_000]))) == pytest.approx(440, abs=2)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.02)


def test_a_whole_wav_file_knows_its_length_and_a_stream_has_one_header() -> None:
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) / 10
    whole = SoundWriter("wav", 16_000, stream=False)
    whole.feed(noise)
    data = whole.finish()
    assert struct.unpack("<I", data[40:44])[0] == len(data) - 44 == 16_000
    stream = SoundWriter("wav", 16_000, stream=True)
    pieces = b"".join([stream.feed(noise), stream.feed(noise), stream.finish()])
    assert pieces.count(b"RIFF") == 1 and len(pieces) == 44 + 32_000
    read, rate = soundfile.read(io.BytesIO(pieces))
    assert (len(read), rate) == (16_000, 16_000)


@pytest.mark.parametrize(
    ("source", "target"), [(16_000, 24_000), (44_100, 16_000), (22_050, 24_000)]
)
def test_resampling_in_pieces_is_resampling_in_one(source: int, target: int) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(source) / source).astype(np.float32)
    whole = resampled(tone, source, target)
    resampler = Resampler(source, target)
    pieces = [resampler.feed(piece) for piece in np.array_split(tone, 23)]
    joined = np.concatenate([*pieces, resampler.finish()])
    assert len(joined) == len(whole) == target
    assert np.allclose(joined, whole, atol=1e-5)
    right = np.sin(2 * np.pi * 1000 * np.arange(target) / target)
    middle = slice(target // 10, -target // 10)
    assert np.abs(joined[middle] - right[middle]).max() < 1e-3


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.5, 2.0, 4.0])
def test_another_tempo_keeps_the_pitch(speed: float) -> None:
    rate = 16_000
    tone = np.sin(2 * np.pi * 220 * np.arange(2 * rate) / rate).astype(np.float32)
    found = stretched(tone, rate, speed)
    assert len(found) == pytest.approx(len(tone) / speed, rel=0.05)
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found))))
    assert np.argmax(spectrum) * rate / len(found) == pytest.approx(220, rel=0.03)
    assert np.abs(found).max() < 1.3


def test_a_text_is_cut_into_sentences_and_no_word_is_lost() -> None:
    text = (
        "Hello there. This is a rather long first sentence, which says one thing after another! "
        'She asked: "Is it far?" And he said no.\n\nA new paragraph; '
        + "with very many words, " * 30
        + "und Schluß。今日は。終わり"
    )
    pieces = sentences(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert len(pieces) > 4 and all(0 < len(piece) <= LONGEST for piece in pieces)
    assert sentences("One. Two.") == ["One. Two."]
    assert sentences(" \n ") == []
    endless = "a" * 1000
    assert "".join(sentences(endless)) == endless and len(sentences(endless)) == 4


# -- the model ------------------------------------------------------------------------------------


@pytest.mark.model
def test_what_is_said_has_its_length_and_comes_in_pieces(voice: Any) -> None:
    whole = one(voice, SpeakRequest(text="Hello zoo."))
    assert len(of(whole, Sound)) == 1
    assert seconds_of(file_of(whole), "wav") == pytest.approx(4, abs=0.2)
    pieces = one(voice, SpeakRequest(text="Hello zoo.", stream=True, format="mp3"))
    assert len(of(pieces, Sound)) > 3
    assert seconds_of(file_of(pieces), "mp3") == pytest.approx(4, abs=0.2)
    assert pieces.done.usage.prompt_tokens == 2


@pytest.mark.model
def test_a_long_text_is_said_sentence_by_sentence(voice: Any) -> None:
    text = LONG_WORDS * 2
    found = one(voice, SpeakRequest(text=text, stream=True, format="pcm"))
    words = len(text.split())
    assert seconds_of(file_of(found), "pcm") == pytest.approx(words + 2 * 2, abs=0.5)
    assert found.done.usage.prompt_tokens == words


@pytest.mark.model
def test_the_tempo_is_changed_for_models_that_have_none(voice: Any) -> None:
    found = one(voice, SpeakRequest(text="Hello zoo.", speed=2.0))
    assert seconds_of(file_of(found), "wav") == pytest.approx(2, abs=0.2)


@pytest.mark.model
def test_voices_are_names_of_the_model_and_nothing_else(voice: Any, tmp_path: Path) -> None:
    assert voice.call("voices", {}) == ["default", "zebra"]
    assert voice.prepare(SpeakRequest(text="Hi", voice="ZEBRA")).options["voice"] == "zebra"
    stolen = tmp_path / "voice.safetensors"
    stolen.write_bytes((Path(voice.spec.path) / "voices" / "zebra.safetensors").read_bytes())
    for name in ("alloy", str(stolen), "../voices/zebra", "hf://someone/else.wav"):
        with pytest.raises(BadRequest, match="It has: default, zebra") as caught:
            voice.prepare(SpeakRequest(text="Hi", voice=name))
        assert caught.value.param == "voice"


@pytest.mark.model
def test_what_the_model_does_not_take_is_refused_by_name(voice: Any) -> None:
    for change, param in (({"instructions": "whisper"}, "instructions"),
                          ({"language": "de"}, "language")):  # fmt: skip
        with pytest.raises(BadRequest) as caught:
            voice.prepare(SpeakRequest(text="Hi", **change))  # type: ignore[arg-type]
        assert caught.value.param == param
    with pytest.raises(BadRequest, match="nothing to say"):
        voice.prepare(SpeakRequest(text=" \n"))


@pytest.mark.model
def test_two_speakers_take_turns_between_sentences_only(voice: Any) -> None:
    """Within a sentence the model keeps its place in itself."""
    text = LONG_WORDS * 2
    for id in (1, 2):
        voice.add(id, voice.prepare(SpeakRequest(text=text, stream=True, format="pcm")))
    order: list[int] = []
    while voice.is_busy:
        order += [id for id, output in voice.step() if isinstance(output, Sound)]
    turns = [id for place, id in enumerate(order) if place == 0 or order[place - 1] != id]
    assert turns == [1, 2, 1, 2] or turns == [1, 2, 1, 2, 1, 2]


@pytest.mark.model
def test_a_speaker_is_silenced_within_a_sentence(voice: Any) -> None:
    voice.add(1, voice.prepare(SpeakRequest(text="One two three four five.", stream=True)))
    for _ in range(3):
        voice.step()
    voice.cancel(1)
    assert not voice.is_busy
    after = one(voice, SpeakRequest(text="Hello zoo."))
    assert seconds_of(file_of(after), "wav") == pytest.approx(4, abs=0.2)
