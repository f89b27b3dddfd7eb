"""What pages show of downloads: the list of them, and one repository's Install button."""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from models_app.downloads import Download
from models_app.models import Model

FEW = 5
"""So many downloads are shown on pages about something else."""


class Offer(Struct, frozen=True):
    """One repository: is it here, is it on its way, or can it be installed."""

    repository: str
    model: Model | None = None
    download: Download | None = None

    @property
    def author(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def name(self) -> str:
        return self.repository.partition("/")[2]

    @property
    def is_moving(self) -> bool:
        return self.download is not None and not self.download.is_finished


async def offers(repositories: Iterable[str]) -> dict[str, Offer]:
    """For many at once: two queries."""
    wanted = list(repositories)
    models = {m.huggingface_id: m async for m in Model.objects.filter(huggingface_id__in=wanted)}
    rows = Download.objects.shown().filter(repository__in=wanted)
    downloads = {row.repository: row async for row in rows}
    return {one: Offer(one, models.get(one), downloads.get(one)) for one in wanted}


async def offer_of(repository: str) -> Offer:
    return (await offers([repository]))[repository]


async def under_way(*, few: bool = False) -> dict[str, object]:
    """For a template: the downloads, and a mark that changes when they do. `few`: on pages about
    something else only the first of them, those that run before those that wait."""
    rows = [row async for row in Download.objects.shown()[:100]]
    running = [row for row in rows if row.is_running]
    shown = sorted(rows, key=lambda row: not row.is_running)[:FEW] if few else rows
    total = sum(row.total_bytes for row in running)
    return {
        "downloads": shown,
        "few_downloads": few,
        "more_downloads": len(rows) - len(shown),
        "running": len(running),
        "failed": sum(row.status == Download.Status.FAILED for row in rows),
        "percent": int(100 * sum(row.done_bytes for row in running) / total) if total else 0,
        "seen_downloads": digest(rows),
    }


def digest(rows: Iterable[Download]) -> str:
    shown = [
        (row.pk, row.status, row.done_bytes, row.total_bytes, row.note, row.error, row.files,
         row.cancel_requested, row.pause_requested, row.seconds_left, row.priority)
        for row in rows
    ]  # fmt: skip
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
