"""A clip that was uploaded, made mono at one rate and cut where it is quiet."""

from collections.abc import Iterator

import numpy as np

from mlxgui.engine.backends.hearing_files import opened
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


class Clip:
    """Raises BadRequest for what is no sound, is empty, too long or damaged."""

    def __init__(self, data: bytes) -> None:
        self._sound = opened(data)
        self.rate, self.seconds = self._sound.rate, self._sound.seconds
        if not 4000 <= self.rate <= 384_000:
            raise BadRequest("There is no sound in the file.", param="file")
        if self._sound.channels > MAX_CHANNELS:
            raise BadRequest(f"At most {MAX_CHANNELS} channels can be read.", param="file")
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
        for block in self._sound.blocks():
            read += len(block)
            self._check_length(read / self.rate)
            yield resampler.feed(np.nan_to_num(block))
        self.seconds = read / self.rate
        yield resampler.finish()

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
