"""Slow work is a row. Pages write the wish, the runner writes the facts, the child writes files."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from mlxgui.engine.jobs.folder import JobFolder


class Status(models.TextChoices):
    QUEUED = "queued", "waiting"
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    SUCCEEDED = "succeeded", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


FINISHED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class JobQuerySet[J: "Job"](models.QuerySet[J]):
    def unfinished(self) -> Self:
        """Those that run, wait, or can go on."""
        return self.exclude(status__in=FINISHED)

    def in_order(self) -> Self:
        """As they are to be started."""
        return self.order_by("-priority", "created_at", "pk")

    def claim(self, pk: int) -> bool:
        """True for the one who may start it."""
        queued = self.filter(pk=pk, status=Status.QUEUED)
        return queued.update(status=Status.RUNNING, started_at=timezone.now()) == 1


class Job(models.Model):
    """What every kind of job has in common. `on_success` may run twice, so it must bear that."""

    Status = Status
    KIND: ClassVar[str]
    """The body in mlxgui.engine.jobs.BODIES."""
    RESTARTS: ClassVar[int] = 0
    """How often a child that was killed is started again, where the body can go on."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED, db_index=True)
    priority = models.IntegerField(default=0, help_text="Higher goes first.")
    progress = models.FloatField(
        default=0.0, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)]
    )
    error = models.TextField(blank=True)
    restarts = models.PositiveSmallIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def is_running(self) -> bool:
        return self.status == Status.RUNNING

    @property
    def percent(self) -> int:
        return int(100 * self.progress)

    @property
    def folder(self) -> JobFolder:
        return JobFolder(Path(settings.HOME.path) / "jobs" / f"{self.KIND}-{self.uuid}")

    # -- wishes: what pages and routes call -------------------------------------------------------

    def request_cancel(self) -> None:
        self._write(cancel_requested=True)

    def request_pause(self) -> None:
        self._write(pause_requested=True)

    def resume(self) -> bool:
        """Go on with one that is paused, that failed or was cancelled. False: it needs none."""
        fresh: dict[str, Any] = {
            "cancel_requested": False, "pause_requested": False, "restarts": 0, "error": "",
            "finished_at": None,
        }  # fmt: skip
        stopped = (Status.PAUSED, Status.FAILED, Status.CANCELLED)
        rows = type(self)._default_manager.filter(pk=self.pk, status__in=stopped)
        changed = rows.update(status=Status.QUEUED, **fresh) == 1
        if not changed:
            self._write(pause_requested=False, cancel_requested=False)
        self.refresh_from_db()
        return changed

    def set_priority(self, priority: int) -> None:
        self._write(priority=priority)

    def _write(self, **wish: Any) -> None:
        for name, value in wish.items():
            setattr(self, name, value)
        self.save(update_fields=list(wish))

    # -- what a kind of job says about itself; the runner asks ------------------------------------

    @classmethod
    def max_running(cls) -> int:
        """How many of this kind run at the same time."""
        return 1

    def describe(self) -> dict[str, Any]:
        """What job.json says beside the kind."""
        return {}

    def environment(self) -> dict[str, str]:
        """For the child; what is not to be written into a file."""
        return {}

    def on_progress(self, line: dict[str, Any]) -> Iterable[str]:
        """Take facts from a line of progress; returns the names of the columns changed."""
        return ()

    def on_success(self, outcome: dict[str, Any]) -> None:
        """What the work was for."""

    def on_cancel(self) -> None:
        """Clean up what is of no use any more."""
