"""Downloads as rows. The runner starts them; engine/jobs/download.py does the work."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from django.db import IntegrityError, models, transaction

from mlxgui.engine.errors import BadRequest
from mlxgui.jobs import runner
from mlxgui.jobs.models import FINISHED, Job, JobQuerySet, Status
from mlxgui.system.models import Setting

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
SHOWN_FACTS = ("done_bytes", "total_bytes", "speed_bytes", "seconds_left", "note")


class DownloadQuerySet(JobQuerySet["Download"]):
    def begin(self, repository: str, name: str = "") -> "Download":
        """Fetch it: a new row, or the one that there is, which goes on where it stopped."""
        check_repository(repository)
        if found := self.filter(repository=repository).exclude(status=Status.SUCCEEDED).first():
            if name:
                found.rename(name)
            found.resume()
        else:
            found = self._create_or_join(repository, name)
        runner.poke()
        return found

    def _create_or_join(self, repository: str, name: str) -> "Download":
        try:
            with transaction.atomic():
                return self.create(repository=repository, name=name)
        except IntegrityError:  # two asked at once
            return self.unfinished().get(repository=repository)

    def shown(self) -> "DownloadQuerySet":
        """For pages: what is under way, and what needs a decision."""
        return self.exclude(status__in=[Status.SUCCEEDED, Status.CANCELLED]).in_order()

    def named(self, name: str) -> "Download | None":
        """The one under way for this model name or repository."""
        by_name = models.Q(repository=name) | models.Q(name=name)
        ending = models.Q(name="", repository__endswith=f"/{name}")
        return self.shown().filter(by_name | ending).first()


def check_repository(repository: str) -> None:
    bad = ".." in repository or "--" in repository or repository.endswith(".git")
    if bad or not REPOSITORY.fullmatch(repository):
        raise BadRequest(
            f"“{repository[:100]}” is no repository of the hub: it should look like author/model.",
            param="model_id",
        )


def hub_token() -> str:
    """The setting, else the environment. Empty: what `hf auth login` stored, if anything."""
    stored = str(Setting.objects.value("huggingface_token"))
    names = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    return stored or next((os.environ[name] for name in names if os.environ.get(name)), "")


class Download(Job):
    KIND = "download"
    RESTARTS: ClassVar[int] = 5

    # What is wished for.
    repository = models.CharField(max_length=200)
    name = models.CharField("name in the library", max_length=200, blank=True)

    # Facts, copied from what the child reports.
    commit = models.CharField(max_length=64, blank=True)
    done_bytes = models.PositiveBigIntegerField(default=0)
    total_bytes = models.PositiveBigIntegerField(default=0)
    speed_bytes = models.PositiveBigIntegerField("bytes a second", default=0)
    seconds_left = models.PositiveIntegerField(null=True, blank=True)
    note = models.TextField(blank=True)
    files = models.JSONField("files under way", default=list, blank=True)

    objects: ClassVar = DownloadQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["repository"],
                condition=~models.Q(status__in=FINISHED),
                name="one_unfinished_download_per_repository",
            )
        ]

    def __str__(self) -> str:
        return f"download of {self.repository}"

    def rename(self, name: str) -> None:
        self._write(name=name)

    @property
    def model_name(self) -> str:
        return self.name or self.repository.rpartition("/")[2]

    @property
    def said(self) -> str:
        """One line about it: why it failed, what it waits for, else its state."""
        waits_for = self.note if self.is_running else ""
        return self.error or waits_for or self.get_status_display()

    @property
    def cache(self) -> Path:
        from models_app.library import chosen_hub_cache

        return chosen_hub_cache()

    @classmethod
    def max_running(cls) -> int:
        return int(Setting.objects.value("max_concurrent_downloads"))

    def describe(self) -> dict[str, Any]:
        return {"repository": self.repository, "cache": str(self.cache)}

    def environment(self) -> dict[str, str]:
        """The token travels here and is never written into the job's folder."""
        token = hub_token()
        return {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **({"HF_TOKEN": token} if token else {}),
        }

    def on_progress(self, line: dict[str, Any]) -> Iterable[str]:
        for name in SHOWN_FACTS:
            if name in line:
                setattr(self, name, line[name])
        self.files = line.get("files", [])
        return (*SHOWN_FACTS, "files")

    def on_success(self, outcome: dict[str, Any]) -> None:
        from models_app.library import listed_under, remember, scan

        self.commit = outcome.get("commit", "")
        self.done_bytes = self.total_bytes = outcome.get("bytes", 0)
        self.speed_bytes, self.seconds_left, self.note, self.files = 0, None, "", []
        self.save(update_fields=["commit", *SHOWN_FACTS, "files"])
        remember(Path(outcome["path"]))
        scan()
        listed_under(self.repository, self.name)

    def on_cancel(self) -> None:
        """What arrived is thrown away; what the cache had before stays."""
        home = self.cache / f"models--{self.repository.replace('/', '--')}"
        shutil.rmtree(home / "unfinished", ignore_errors=True)
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()
