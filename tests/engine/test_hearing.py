"""Clips: what can be read, how they are cut, what a model hears in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxgui.engine.backends.hearing import segments_of
from mlxgui.engine.backends.hearing_clips import RATE, Clip, quietest
from mlxgui.engine.errors import BadRequest, EngineError
from mlxgui.engine.tasks import Heard, Segment, TranscribeRequest
from mlxgui.engine.types import Done, Started
from tests import tiny_senses
from tests.engine.tasks import load, of, one
from tests.tiny_senses import clip, contained

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def world_ears(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load("stt", tiny_senses.make_ears(tmp_path_factory.mktemp("m") / "ears"))


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("m") / "english"
    return load("stt", tiny_senses.make_ears(folder, languages=False))


FORMATS = [
    ("WAV", None, 16_000), ("WAV", "FLOAT", 48_000), ("FLAC", None, 44_100), ("MP3", None, 44_100),
    ("OGG", "VORBIS", 22_050), ("OGG", "OPUS", 48_000), ("AIFF", None, 8000), ("AU", None, 16_000),
    ("CAF", None, 16_000),
]  # fmt: skip


@pytest.mark.parametrize(("format", "subtype", "rate"), FORMATS)
def test_a_clip_is_read_as_mono_at_16_khz(format: str, subtype: str | None, rate: int) -> None:
    _is_the_tone(Clip(clip(2.5, format, rate=rate, subtype=subtype)))


CONTAINERS = [("mp4", "aac"), ("adts", "aac"), ("webm", "libopus")]


@pytest.mark.parametrize(("kind", "codec"), CONTAINERS)
def test_what_telephones_and_browsers_send_is_read_too(kind: str, codec: str) -> None:
    _is_the_tone(Clip(contained(2.5, kind, codec)))


def _is_the_tone(found: Clip) -> None:
    windows = list(found.windows())
    assert found.seconds == pytest.approx(2.5, rel=0.05)
    assert [start for start, _ in windows] == [0.0]
    samples = windows[0][1]
    assert samples.dtype == np.float32 and len(samples) == pytest.approx(2.5 * RATE, rel=0.05)
    strongest = np.argmax(np.abs(np.fft.rfft(samples[: 2 * RATE]))) / 2
    assert strongest == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


BROKEN: list[tuple[str, bytes, str]] = [
    ("empty", b"", "The file is empty"),
    ("text", b"this is no sound at all", "no sound file. WAV, FLAC, MP3, M4A"),
    ("m4a", b"\0\0\0\x20ftypM4A " + b"\0" * 64, "damaged|no sound"),
    ("m4a cut", contained(1, "mp4", "aac")[:2000], "damaged|no sound"),
    ("webm", b"\x1a\x45\xdf\xa3" + b"\0" * 64, "damaged|no sound"),
    ("aac", b"\xff\xf1" + b"\0" * 64, "damaged|no sound"),
    ("playlist", b"#EXTM3U\nfile:///etc/hostname\n", "no sound file. WAV, FLAC"),
    ("cut", clip(1)[:30], "damaged|no sound"),
    ("no samples", clip(0), "no sound"),
    ("noise", b"RIFF\x10\0\0\0WAVE" + bytes(range(256)) * 4, "damaged|no sound"),
    ("flac cut", clip(1, "FLAC")[:20], "damaged|no sound"),
]


@pytest.mark.parametrize(("data", "says"), [case[1:] for case in BROKEN],
                         ids=[case[0] for case in BROKEN])  # fmt: skip
def test_what_cannot_be_heard_is_a_bad_request(ears: Any, data: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        of(one(ears, TranscribeRequest(audio=data)), Done)
    assert caught.value.param == "file"


def test_silence_is_said_to_be_silence(ears: Any) -> None:
    with pytest.raises(EngineError, match="only silence"):
        of(one(ears, TranscribeRequest(audio=clip(2, loud=0.0))), Done)


def test_a_clip_is_heard_with_times(ears: Any) -> None:
    found = one(ears, TranscribeRequest(audio=clip(2, "MP3", rate=44_100), word_times=True))
    assert isinstance(found.events[0], Started)
    (segment,) = of(found, Segment)
    assert segment.text == tiny_senses.HEARD
    assert [word.text.strip() for word in segment.words] == tiny_senses.HEARD.split()
    times = [time for word in segment.words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 2
    (heard,) = of(found, Heard)
    assert heard.duration_seconds == pytest.approx(2, abs=0.1)
    assert heard.language == "en"


def test_a_long_clip_is_heard_in_windows_that_follow_each_other(ears: Any) -> None:
    found = one(ears, TranscribeRequest(audio=clip(65, "FLAC")))
    starts = [segment.start_seconds for segment in of(found, Segment)]
    assert len(starts) == 3 and starts[0] == 0
    assert 25 <= starts[1] <= 30 and 50 <= starts[2] <= 60
    assert of(found, Heard)[0].duration_seconds == 65


def test_a_window_ends_where_it_is_quiet() -> None:
    window = np.full(30 * RATE, 0.5, np.float32)
    window[27 * RATE : 27 * RATE + RATE // 5] = 0
    assert 27 * RATE <= quietest(window) <= 27.2 * RATE


def test_silent_windows_are_passed_by(ears: Any) -> None:
    import io

    import soundfile

    sound = np.zeros(70 * RATE, np.float32)
    sound[60 * RATE :] = 0.3
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV")
    segments = of(one(ears, TranscribeRequest(audio=file.getvalue())), Segment)
    assert [segment.text for segment in segments] == [tiny_senses.HEARD]
    assert segments[0].start_seconds > 50


def test_a_clip_can_be_cancelled_between_windows(ears: Any) -> None:
    ears.add(1, ears.prepare(TranscribeRequest(audio=clip(65))))
    ears.add(2, ears.prepare(TranscribeRequest(audio=clip(65))))
    ears.step()
    turns = [{id for id, _ in ears.step()} for _ in range(2)]
    assert turns == [{1}, {2}]  # taking turns, a window each
    assert ears.call("stats", {})["in_flight"] == 2
    ears.cancel(1)
    ears.cancel(2)
    ears.cancel(99)
    assert not ears.is_busy and ears.step() == []


def test_translation_and_languages_are_asked_of_models_that_know_them(
    world_ears: Any, ears: Any
) -> None:
    translated = TranscribeRequest(audio=clip(1), action="translate", language="German")
    assert [segment.text for segment in of(one(world_ears, translated), Segment)]
    assert of(one(world_ears, translated), Heard)[0].language == "de"
    with pytest.raises(BadRequest, match="does not translate"):
        ears.prepare(translated)
    for backend, language in ((world_ears, "xx"), (ears, "de"), (world_ears, "it")):
        with pytest.raises(BadRequest, match="does not know the language") as caught:
            backend.prepare(TranscribeRequest(audio=clip(1), language=language))
        assert caught.value.param == "language"


def test_a_prompt_and_a_temperature_reach_the_model(ears: Any) -> None:
    request = TranscribeRequest(audio=clip(1), prompt="Zoo words", temperature=0.5)
    options = ears.prepare(request).options
    assert options == {"initial_prompt": "Zoo words", "temperature": 0.5}
    assert isinstance(one(ears, request).events[-1], Done)


def test_answers_of_other_models_become_segments_too() -> None:
    """Some models say a text only, some sentences, some nothing."""
    assert [s.text for s in segments_of("plain words", 10, 5)] == ["plain words"]
    (only,) = segments_of({"text": "words"}, 10, 5)
    assert (only.start_seconds, only.end_seconds) == (10, 15)
    sentences = {"sentences": [{"text": "a.", "start": 0.5, "end": 99.0, "tokens": [1]}]}
    (sentence,) = segments_of(sentences, 10, 5)
    assert (sentence.start_seconds, sentence.end_seconds, sentence.tokens) == (10.5, 15, [1])
    assert list(segments_of({"text": "  "}, 0, 5)) == []
    (odd,) = segments_of({"segments": [{"text": "x", "start": 0, "avg_logprob": np.nan}]}, 0, 5)
    assert odd.average_logprob == 0.0


def test_a_folder_without_its_tokenizer_does_not_load(tmp_path: Path) -> None:
    import warnings

    from mlxgui.engine.errors import LoadFailed

    folder = tiny_senses.make_ears(tmp_path / "mute", languages=False)
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "preprocessor_config.json"):
        (folder / name).unlink()
    with warnings.catch_warnings(), pytest.raises(LoadFailed, match="has no tokenizer"):
        warnings.simplefilter("ignore")
        load("stt", folder)
