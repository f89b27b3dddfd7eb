"""Samples into the file that was asked for, as they come: one header, and no ffmpeg."""

import io
import struct
from typing import Any

import numpy as np
import soundfile

from mlxgui.engine.backends.resampling import Resampler, Samples
from mlxgui.engine.tasks import SoundFormat

PCM_RATE = 24_000
"""What OpenAI's raw format means: mono, 16 bit, 24 kHz."""
OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
UNKNOWN_BYTES = 0xFFFFFFFF
"""The size of a WAV file that is sent while it grows."""
# MP3 at a constant rate: players tell the length of a stream from its first frame.
_ENCODED: dict[str, dict[str, Any]] = {
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "bitrate_mode": "CONSTANT",
        "compression_level": 0.5,
    },
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}


def rate_of(format: SoundFormat, rate: int) -> int:
    """The sample rate of the file: the model's own where the format has it."""
    if format == "pcm":
        return PCM_RATE
    allowed = {"opus": OPUS_RATES, "mp3": MP3_RATES}.get(format, (rate,))
    return rate if rate in allowed else min((r for r in allowed if r >= rate), default=max(allowed))


class SoundWriter:
    """`feed` returns the file's next bytes, `finish` the last. Without `stream` the file comes
    whole, at the end, and its header knows its length."""

    def __init__(self, format: SoundFormat, model_rate: int, *, stream: bool) -> None:
        self.rate = rate_of(format, model_rate)
        self._stream = stream
        self._resampler = Resampler(model_rate, self.rate)
        self._file = _Encoded(format, self.rate) if format in _ENCODED else _Plain()
        self._header = wav_header(self.rate, None) if format == "wav" else b""
        self._is_wav = format == "wav"

    def feed(self, samples: Samples) -> bytes:
        self._file.write(self._resampler.feed(sound(samples)))
        return self._next() if self._stream else b""

    def finish(self) -> bytes:
        self._file.write(self._resampler.finish())
        self._file.close()
        if self._is_wav and not self._stream:
            self._header = wav_header(self.rate, self._file.size)
        return self._next()

    def _next(self) -> bytes:
        header, self._header = self._header, b""
        return header + self._file.take()


def sound(samples: Samples) -> Samples:
    """Mono within -1 to 1, whatever the model made."""
    flat = np.asarray(samples, dtype=np.float32)
    if flat.ndim > 1:
        flat = flat.mean(axis=int(np.argmin(flat.shape)))
    return np.clip(np.nan_to_num(flat), -1.0, 1.0)


class _Plain:
    """16-bit little-endian samples."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.size = 0

    def write(self, samples: Samples) -> None:
        added = np.round(samples * 32767).astype("<i2").tobytes()
        self._data += added
        self.size += len(added)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data

    def close(self) -> None:
        pass


class _Encoded(_Plain):
    """Through libsndfile, which writes into memory. It may mend the first bytes at the end: those
    that were sent by then stay as they are, which players allow."""

    def __init__(self, format: str, rate: int) -> None:
        super().__init__()
        self._memory = io.BytesIO()
        self._taken = 0
        self._encoder = soundfile.SoundFile(
            self._memory, "w", samplerate=rate, channels=1, **_ENCODED[format]
        )

    def write(self, samples: Samples) -> None:
        if len(samples):
            self._encoder.write(samples)

    def take(self) -> bytes:
        data = self._memory.getvalue()[self._taken :]
        self._taken += len(data)
        return data

    def close(self) -> None:
        self._encoder.close()


def wav_header(rate: int, data_bytes: int | None) -> bytes:
    """44 bytes of a mono 16-bit WAV file; None = its length is not known yet."""
    size = UNKNOWN_BYTES if data_bytes is None else data_bytes
    whole = min(size + 36, UNKNOWN_BYTES)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    start = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
    return start + form + struct.pack("<4sI", b"data", size)
