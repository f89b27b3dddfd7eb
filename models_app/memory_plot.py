"""Memory by length of the conversation, as points of a small picture."""

from msgspec import Struct

from mlxgui.engine.memory import GIB
from models_app.hub_facts import HubModel

WIDTH, HEIGHT = 400, 180
STEPS = 24
LETTERS = 16
"""Height of a line of text."""


class Mark(Struct, frozen=True):
    """A place on an axis, and what is written there."""

    at: float
    text: str


class MemoryPlot(Struct, frozen=True):
    line: str
    area: str
    base: float
    """Height at which the weights end and the KV cache begins."""
    limit: float | None
    """Height of this machine's memory; None where it lies beyond the picture."""
    lengths: list[Mark]
    sizes: list[Mark]
    longest_tokens: int
    fitting_tokens: int

    @property
    def base_height(self) -> float:
        return round(HEIGHT - self.base, 1)


def plot(model: HubModel, room_bytes: int) -> MemoryPlot | None:
    """None where the hub does not say enough."""
    longest = model.context_tokens
    if not (longest and model.kv_bytes_per_token and model.weights_bytes):
        return None
    top = model.memory_at(longest)
    scale = max(top, model.memory_at(0)) * 1.08

    def y(size_bytes: float) -> float:
        return round(HEIGHT * (1 - size_bytes / scale), 1)

    lengths = [longest * step // STEPS for step in range(STEPS + 1)]
    points = [(round(WIDTH * n / longest, 1), y(model.memory_at(n))) for n in lengths]
    line = " ".join(f"{x},{height}" for x, height in points)
    free = room_bytes - model.memory_at(0)
    return MemoryPlot(
        line=line,
        area=f"0,{HEIGHT} {line} {WIDTH},{HEIGHT}",
        base=y(model.memory_at(0)),
        limit=y(room_bytes) if room_bytes <= scale else None,
        lengths=[Mark(WIDTH * part / 4, words(longest * part // 4)) for part in range(1, 5)],
        sizes=[Mark(y(size), gigabytes(size)) for size in _apart(top, model.memory_at(0), scale)],
        longest_tokens=longest,
        fitting_tokens=max(0, min(longest, free // model.kv_bytes_per_token)),
    )


def _apart(top: int, base: int, scale: float) -> list[int]:
    """Both where there is room to write both."""
    return [top, base] if HEIGHT * (top - base) / scale > LETTERS else [top]


def words(tokens: int) -> str:
    if tokens < 1024:
        return str(tokens)
    return f"{tokens / 1024:.1f}".removesuffix(".0") + "k"


def gigabytes(count: float) -> str:
    return f"{count / GIB:.1f} GB"
