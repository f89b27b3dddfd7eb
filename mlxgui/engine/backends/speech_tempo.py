"""Speech faster or slower at the same pitch: waveform-similarity overlap-add (Verhelst, 1993)."""

import numpy as np

from mlxgui.engine.backends.resampling import Samples

FRAME_SECONDS = 0.04
SEARCH_SECONDS = 0.01


def stretched(samples: Samples, rate: int, speed: float) -> Samples:
    """About len(samples) / speed samples."""
    frame = int(FRAME_SECONDS * rate) // 2 * 2
    hop, search = frame // 2, int(SEARCH_SECONDS * rate)
    if speed == 1 or len(samples) < 2 * frame:
        return samples
    window = np.hanning(frame + 1)[:frame].astype(np.float32)
    padded = np.pad(samples, (search, 2 * frame))
    count = max(1, int(len(samples) / speed / hop))
    made = np.zeros(count * hop + frame, np.float32)
    at = search
    made[:frame] = padded[at : at + frame] * window
    made[:hop] = padded[at : at + hop]  # no fade in at the start
    for number in range(1, count):
        expected = padded[at + hop : at + hop + frame]  # what would follow by itself
        middle = min(search + int(number * hop * speed), len(padded) - frame - search - 1)
        region = padded[middle - search : middle + search + frame]
        at = middle - search + int(np.argmax(np.correlate(region, expected[: len(region)])))
        made[number * hop : number * hop + frame] += padded[at : at + frame] * window
    return made[: count * hop]
