"""Sound files of every kind, told by their content and read a piece at a time.

libsndfile reads what is nothing but sound; PyAV, which brings FFmpeg's libraries with it, reads the
containers of telephones and browsers. A container's kind is named to it, never guessed, and it is
given bytes alone: playlists and the like, which would name other files, are not opened.
"""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from mlxgui.engine.backends.resampling import Samples
from mlxgui.engine.errors import BadRequest

PLAYABLE = "WAV, FLAC, MP3, M4A, AAC, WebM, OGG (Vorbis or Opus), AIFF, AU and CAF"
UNKNOWN_FRAMES = 1 << 62
_STARTS = (b"fLaC", b"OggS", b"ID3", b"caff", b".snd")
_INSIDE = {b"RIFF": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF"}
_BROKEN = (soundfile.SoundFileError, RuntimeError, ValueError, TypeError)


class SoundFile:
    """What is nothing but sound. Raises BadRequest for what is damaged."""

    def __init__(self, data: bytes) -> None:
        try:
            self._file = _FrontToBack(io.BytesIO(data))
        except _BROKEN as error:
            raise damaged(error) from None
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        frames = self._file.frames
        if frames <= 0 or not self.rate:
            raise BadRequest("There is no sound in the file.", param="file")
        self.seconds = frames / self.rate if frames < UNKNOWN_FRAMES else 0.0
        """0 = known only at the end."""

    def blocks(self) -> Iterator[Samples]:
        """About a second each, mono."""
        while len(block := self._block()):
            yield block.mean(axis=1)

    def _block(self) -> Samples:
        try:
            return self._file.read(self.rate, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise damaged(error) from None


class _FrontToBack(soundfile.SoundFile):
    """A FLAC file that was sent while it grew does not say its length, and a seek to it fails."""

    def seekable(self) -> bool:
        return False


class ContainedSound:
    """The first sound of a container. Raises BadRequest for what is damaged or has none.

    Args:
        kind: FFmpeg's name of the container.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        import av  # 0.1 s that other clips need not wait for

        self._broken = (av.FFmpegError, ValueError)
        try:
            self._container = av.open(io.BytesIO(data), "r", format=kind)
        except self._broken as error:
            raise damaged(error) from None
        if not self._container.streams.audio:
            raise BadRequest("There is no sound in the file.", param="file")
        stream = self._container.streams.audio[0]
        self.rate = int(stream.sample_rate or 0)
        self.channels = int(stream.channels or 0)
        length = self._container.duration  # browsers send WebM while it grows: none is known
        self.seconds = max(0.0, length / 1e6) if length and kind != "aac" else 0.0
        self._planes = av.AudioResampler(format="fltp")

    def blocks(self) -> Iterator[Samples]:
        """About a second each, mono."""
        kept: list[Samples] = []
        waiting = 0
        for piece in self._pieces():
            kept.append(piece)
            waiting += len(piece)
            if waiting >= self.rate:
                yield np.concatenate(kept)
                kept, waiting = [], 0
        if kept:
            yield np.concatenate(kept)

    def _pieces(self) -> Iterator[Samples]:
        frames = self._container.decode(audio=0)
        while True:
            try:
                frame = next(frames, None)
                made = self._planes.resample(frame) if frame is not None else []
            except self._broken as error:
                raise damaged(error) from None
            if frame is None:
                return
            yield from (one.to_ndarray().mean(axis=0) for one in made)


def opened(data: bytes) -> SoundFile | ContainedSound:
    """Raises BadRequest that says what the file is, and what works."""
    if not data:
        raise BadRequest("The file is empty.", param="file")
    if kind := _container(data):
        return ContainedSound(data, kind)
    if not _is_plain(data):
        raise BadRequest(f"The file is no sound file. {PLAYABLE} work.", param="file")
    return SoundFile(data)


def damaged(error: Exception) -> BadRequest:
    """FFmpeg's errors have a number before their words."""
    words = getattr(error, "strerror", None) or error
    return BadRequest(f"The file is damaged: {words}", param="file")


def _container(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "mp4"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    is_adts = len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0
    return "aac" if is_adts or data.startswith(b"ADIF") else ""


def _is_plain(data: bytes) -> bool:
    if data.startswith(_STARTS):
        return True
    if data[8:12].startswith(_INSIDE.get(data[:4], b"none")):
        return True
    return len(data) > 4 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
