"""Stretches of speech as subtitles: SubRip and WebVTT."""

from collections.abc import Iterable

from mlxgui.engine.tasks import Segment


def srt(segments: Iterable[Segment]) -> str:
    blocks = [
        f"{number}\n{_span(segment, ',')}\n{_lines(segment)}\n\n"
        for number, segment in enumerate(segments, 1)
    ]
    return "".join(blocks)


def vtt(segments: Iterable[Segment]) -> str:
    blocks = [f"{_span(segment, '.')}\n{_lines(segment)}\n\n" for segment in segments]
    return "WEBVTT\n\n" + "".join(blocks)


def _lines(segment: Segment) -> str:
    """An arrow or an empty line in a text would begin another block."""
    lines = [line.strip() for line in segment.text.replace("-->", "->").splitlines()]
    return "\n".join(line for line in lines if line)


def _span(segment: Segment, point: str) -> str:
    start, end = segment.start_seconds, segment.end_seconds
    return f"{_clock(start, point)} --> {_clock(end, point)}"


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
