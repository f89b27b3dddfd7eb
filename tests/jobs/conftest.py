"""Rows whose body is the fake one, and no runner beside the one of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.home import Home
from mlxgui.jobs.runner import JobRunner
from models_app.models import Download

Make = Callable[..., Download]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Any) -> Home:
    settings.HOME = Home(tmp_path / "home")
    return settings.HOME


@pytest.fixture
def runner() -> JobRunner:
    return JobRunner()


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a row whose child counts; its knobs are those of the fake body."""
    knobs: dict[str, dict[str, Any]] = {}
    made: list[Download] = []

    def make(repository: str = "author/model", *, priority: int = 0, **wish: Any) -> Download:
        knobs[repository] = wish
        made.append(Download.objects.create(repository=repository, priority=priority))
        return made[-1]

    monkeypatch.setattr(Download, "KIND", "fake")
    monkeypatch.setattr(Download, "on_success", lambda job, outcome: None)
    monkeypatch.setattr(Download, "describe", lambda job: knobs[job.repository])
    yield make
    for job in made:
        job.folder.signal(9)
