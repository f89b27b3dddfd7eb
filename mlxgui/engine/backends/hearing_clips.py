"""A clip that was uploaded: told by its content, read a piece at a time, cut where it is quiet."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from mlxgui.engine.backends.resampling import Resampler, Samples
from mlxgui.engine.errors import BadRequest

RATE = 16_000
"""Samples a second that speech models listen at."""
MAX_SECONDS = 4 * 3600
WINDOW_SECONDS = 30
QUIET_SEARCH_SECONDS = 5
"""A window ends in its last seconds, where it is quietest: words stay whole."""
QUIET_PIECE = RATE // 10
SILENCE_PEAK = 1e-3
"""-60 dB: below is nothing that a speech model should put words to."""
MAX_CHANNELS = 16
UNKNOWN_FRAMES = 1 << 62
PLAYABLE = "WAV, FLAC, MP3, OGG (Vorbis or Opus), AIFF, AU and CAF"
_STARTS = (b"fLaC", b"OggS", b"ID3", b"caff", b".snd")
_INSIDE = {b"RIFF": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF"}
_OTHERS = {b"ftyp": "M4A or MP4", b"\x1a\x45\xdf\xa3": "WebM"}


def _is_playable(data: bytes) -> bool:
    if data.startswith(_STARTS):
        return True
    if data[8:12].startswith(_INSIDE.get(data[:4], b"none")):
        return True
    return len(data) > 4 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6)


class _FrontToBack(soundfile.SoundFile):
    """A FLAC file that was sent while it grew does not say its length, and a seek to it fails."""

    def seekable(self) -> bool:
        return False


class Clip:
    """Raises BadRequest for what is no sound, is empty, too long or damaged."""

    def __init__(self, data: bytes) -> None:
        if not data:
            raise BadRequest("The file is empty.", param="file")
        if not _is_playable(data):
            raise BadRequest(f"{_what(data)} {PLAYABLE} work.", param="file")
        try:
            self._file = _FrontToBack(io.BytesIO(data))
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
            raise BadRequest(f"The file is damaged: {error}", param="file") from None
        self.rate = int(self._file.samplerate)
        if self._file.frames <= 0 or not 4000 <= self.rate <= 384_000:
            raise BadRequest("There is no sound in the file.", param="file")
        if self._file.channels > MAX_CHANNELS:
            raise BadRequest(f"At most {MAX_CHANNELS} channels can be read.", param="file")
        frames = self._file.frames
        self.seconds = frames / self.rate if frames < UNKNOWN_FRAMES else 0.0
        self._check_length(self.seconds)

    def _check_length(self, seconds: float) -> None:
        if seconds > MAX_SECONDS:
            raise BadRequest(
                f"The clip is longer than {MAX_SECONDS // 3600} hours. Send it in parts.",
                param="file",
            )

    def _pieces(self) -> Iterator[Samples]:
        """About a second each: mono at 16 kHz."""
        resampler, read = Resampler(self.rate, RATE), 0
        while len(block := self._block()):
            read += len(block)
            self._check_length(read / self.rate)
            yield resampler.feed(np.nan_to_num(block.mean(axis=1)))
        self.seconds = read / self.rate
        yield resampler.finish()

    def _block(self) -> Samples:
        try:
            return self._file.read(self.rate, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise BadRequest(f"The file is damaged: {error}", param="file") from None

    def windows(self) -> Iterator[tuple[float, Samples]]:
        """(where it starts in seconds, samples): all of the clip in windows of 30 s at most."""
        kept, start = np.zeros(0, np.float32), 0
        for piece in self._pieces():
            kept = np.concatenate((kept, piece))
            while len(kept) > WINDOW_SECONDS * RATE:
                end = quietest(kept[: WINDOW_SECONDS * RATE])
                yield start / RATE, kept[:end]
                kept, start = kept[end:], start + end
        if len(kept):
            yield start / RATE, kept


def quietest(window: Samples) -> int:
    """Index of the middle of the quietest tenth of a second near the window's end."""
    first = len(window) - QUIET_SEARCH_SECONDS * RATE
    count = (len(window) - first) // QUIET_PIECE
    pieces = window[first : first + count * QUIET_PIECE].reshape(count, QUIET_PIECE)
    loudness = np.square(pieces).mean(axis=1)
    last_of_equals = count - 1 - int(np.argmin(loudness[::-1]))
    return first + last_of_equals * QUIET_PIECE + QUIET_PIECE // 2


def is_silent(samples: Samples) -> bool:
    return not len(samples) or float(np.abs(samples).max()) < SILENCE_PEAK


def _what(data: bytes) -> str:
    for mark, name in _OTHERS.items():
        if mark in data[:12]:
            return f"{name} files cannot be read here."
    return "The file is no sound file that can be read here."
