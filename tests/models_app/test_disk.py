"""Disk by model, and orphans: found, shown, deleted only while they are orphans."""

import os
import time
from pathlib import Path

import pytest
from django.test import Client

from mlxgui.home import Home
from models_app import disk
from models_app.models import Download, Model, Source
from tests.models_app.folders import make_folder

pytestmark = pytest.mark.django_db
LONG_AGO = time.time() - 7200


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))


def put(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    age(path, path.parent)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: object, cache: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    settings.HOME = made  # type: ignore[attr-defined]
    return made


def found() -> dict[str, int]:
    return {one.id: one.size_bytes for one in disk.orphans()}


def test_models_are_listed_with_their_bytes_the_largest_first(home: Home, tmp_path: Path) -> None:
    for name, size in (("small", 10), ("large", 5000)):
        put(home.models / name / "model.safetensors", size)
        Model.objects.create(name=name, path=str(home.models / name), source=Source.FOLDER)
    (home.models / "linked").symlink_to(tmp_path)
    Model.objects.create(name="linked", path=str(home.models / "linked"), source=Source.FOLDER)
    listed = [(one.model.name, one.size_bytes) for one in disk.models_on_disk()]
    assert listed == [("large", 5000), ("small", 10), ("linked", 0)]


def test_a_download_that_nobody_wants_leaves_an_orphan(cache: Path) -> None:
    part = put(cache / "models--a--b" / "unfinished" / "etag.part", 70)
    wanted = Download.objects.create(repository="a/b")
    assert found() == {}
    wanted.delete()
    assert found() == {"download:a/b": 70}
    assert disk.clean(["download:a/b"]) == 70
    assert not part.exists()


def test_a_failed_download_can_go_on_so_it_is_no_orphan(cache: Path) -> None:
    put(cache / "models--a--b" / "unfinished" / "etag.part", 70)
    Download.objects.create(repository="a/b", status="failed")
    assert found() == {}


def test_prompts_of_models_that_are_gone_are_orphans(home: Home) -> None:
    base = Model.objects.create(name="here", path="/models/here")
    Model.objects.create(name="tuned", path="/tuned", adapter_path="/adapters/one")
    for key in (base.key, "/models/here@/adapters/one"):
        put(home.prompts / disk.prompt_folder(key) / "a.safetensors", 10)
    gone = put(home.prompts / disk.prompt_folder("/models/gone") / "a.safetensors", 30)
    assert list(found().values()) == [30]
    put(gone, 31).touch()  # a worker writes there now
    assert found() == {}


def test_blobs_without_a_snapshot_are_orphans_and_others_stay(cache: Path) -> None:
    home = cache / "models--a--b"
    used, loose = put(home / "blobs" / "used", 5), put(home / "blobs" / "loose", 60)
    put(home / "blobs" / "broken.incomplete", 7)
    snapshot = home / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/used")
    assert found() == {"blobs:a/b": 67}
    assert disk.clean(["blobs:a/b"]) == 67
    assert used.exists()
    assert not loose.exists()


def test_a_repository_that_is_written_to_is_left_alone(cache: Path) -> None:
    put(cache / "models--a--b" / "blobs" / "loose", 60)
    (cache / "models--a--b" / "blobs" / "new").write_bytes(b"now")
    assert found() == {}


def test_job_folders_without_a_row_are_orphans(home: Home) -> None:
    row = Download.objects.create(repository="a/b")
    put(row.folder.path / "job.json", 10)
    left = put(home.path / "jobs" / "download-gone" / "log.txt", 20)
    assert found() == {"job:download-gone": 20}
    disk.clean(["job:download-gone"])
    assert not left.parent.exists()
    assert row.folder.path.exists()


def test_what_is_no_orphan_is_never_deleted(home: Home, tmp_path: Path) -> None:
    keep = put(tmp_path / "mine" / "file", 10)
    for id in ("job:../../mine", f"download:{keep}", "prompts:../models", "nonsense"):
        assert disk.clean([id]) == 0
    assert keep.exists()


def test_the_pages_show_what_lies_there_and_delete_what_was_chosen(
    home: Home, cache: Path, client: Client
) -> None:
    folder = make_folder(home.models / "listed")
    Model.objects.create(name="listed", path=str(folder), source=Source.FOLDER)
    part = put(cache / "models--a--b" / "unfinished" / "etag.part", 70)
    kept = put(cache / "models--c--d" / "unfinished" / "etag.part", 80)
    page = client.get("/library/disk/").text
    assert "listed" in page
    assert "150" in page
    fragment = client.get("/library/disk/", headers={"HX-Request": "true"}).text
    assert "<html" not in fragment
    asked = client.get("/library/disk/clean/").text
    assert "a/b" in asked
    assert "c/d" in asked
    done = client.post("/library/disk/clean/", {"orphan": ["download:a/b"]}, follow=True)
    assert "came back" in done.text
    assert not part.exists()
    assert kept.exists()
    nothing = client.post("/library/disk/clean/", {}, follow=True)
    assert "Nothing was deleted" in nothing.text
