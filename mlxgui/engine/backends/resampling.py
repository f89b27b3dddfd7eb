"""One sample rate into another, a piece at a time, as if it were done in one."""

import math

import numpy as np
import scipy  # Imports its parts at their first use, so that text models do not wait for them.

ZERO_CROSSINGS = 32
ROLL_OFF = 0.94
KAISER_BETA = 10.0

Samples = np.ndarray
"""Mono float32, -1 to 1."""


class Resampler:
    """`feed` what comes, `finish` at the end; the outputs together are the whole."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        divisor = math.gcd(from_rate, to_rate)
        self._up, self._down = to_rate // divisor, from_rate // divisor
        widest = max(self._up, self._down)
        taps = 2 * ZERO_CROSSINGS * widest + 1
        window = ("kaiser", KAISER_BETA)
        cut_off = ROLL_OFF / widest
        self._filter = scipy.signal.firwin(taps, cut_off, window=window).astype(np.float32)
        reach = math.ceil(ZERO_CROSSINGS * widest / self._up) + 1
        # What lies around a piece is needed too; in whole periods, so that phases agree.
        self._halo = math.ceil(reach / self._down) * self._down
        self._buffer = np.zeros(self._halo, np.float32)
        self._fed = 0
        self._made = 0

    def feed(self, samples: Samples) -> Samples:
        if self._up == self._down:
            return samples
        self._fed += len(samples)
        return self._take(samples)

    def _take(self, samples: Samples) -> Samples:
        self._buffer = np.concatenate((self._buffer, samples))
        core = (len(self._buffer) - 2 * self._halo) // self._down * self._down
        if core <= 0:
            return np.zeros(0, np.float32)
        piece = self._buffer[: core + 2 * self._halo]
        self._buffer = self._buffer[core:]
        converted = scipy.signal.resample_poly(piece, self._up, self._down, window=self._filter)
        first = self._halo // self._down * self._up
        made = converted[first : first + core // self._down * self._up]
        self._made += len(made)
        return made.astype(np.float32, copy=False)

    def finish(self) -> Samples:
        if self._up == self._down:
            return np.zeros(0, np.float32)
        missing = math.ceil(self._fed * self._up / self._down) - self._made
        silence = np.zeros(2 * self._halo + self._down, np.float32)
        return self._take(silence)[: max(0, missing)]


def resampled(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate((resampler.feed(samples), resampler.finish()))
