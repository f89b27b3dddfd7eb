"""The scan: rows follow folders, settings stay."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models_app import folders, library
from models_app.folders import hub_cache
from models_app.models import Model
from tests.models_app.folders import CONFIG, make_cached, make_folder, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def scan(
    models: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Scan these folders; the names that are listed then."""
    monkeypatch.setattr(folders, "STARTER", tmp_path / "starter")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("django.conf.settings.HOME.path", tmp_path)

    def run() -> list[str]:
        library.scan()
        return [model.name for model in Model.objects.all()]

    return run


type Scan = Callable[[], list[str]]


def test_each_source_is_found(scan: Scan, models: Path, cache: Path, tmp_path: Path) -> None:
    make_folder(tmp_path, "starter")
    make_folder(models, "mine")
    make_cached(cache, "mlx-community/Cached-4bit")
    assert scan() == ["Cached-4bit", "mine", "starter"]
    sources = dict(Model.objects.values_list("name", "source"))
    assert sources == {"starter": "starter", "mine": "folder", "Cached-4bit": "hub_cache"}
    assert not Model.objects.exclude(error_message="").exists()


def test_a_cached_model_knows_its_repository(scan: Scan, cache: Path) -> None:
    make_cached(cache, "mlx-community/Cached-4bit", commit="b" * 40)
    scan()
    model = Model.objects.resolve("mlx-community/Cached-4bit")
    assert (model.author, model.version) == ("mlx-community", "b" * 40)


def test_a_second_scan_changes_nothing(scan: Scan, models: Path) -> None:
    for number in range(5):
        make_folder(models, f"m{number}")
    scan()
    before = list(Model.objects.values())
    scan()
    assert list(Model.objects.values()) == before


def test_a_scan_with_nothing_new_is_quick(scan: Scan, models: Path) -> None:
    for number in range(8):
        make_folder(models, f"m{number}")
    scan()
    started = time.perf_counter()
    scan()
    assert time.perf_counter() - started < 0.1


def test_a_changed_folder_is_looked_at_again(scan: Scan, models: Path) -> None:
    folder = make_folder(models, "m")
    scan()
    write(folder / "config.json", {**CONFIG, "max_position_embeddings": 8192})
    scan()
    assert Model.objects.get().context_tokens == 8192


def test_a_scan_leaves_settings_alone(scan: Scan, models: Path) -> None:
    folder = make_folder(models, "m")
    scan()
    Model.objects.update(pinned=True, defaults={"temperature": 0.5}, use_count=3)
    write(folder / "config.json", {**CONFIG, "more": 1})
    scan()
    model = Model.objects.get()
    assert (model.pinned, model.defaults, model.use_count) == (True, {"temperature": 0.5}, 3)


def test_a_row_leaves_with_its_folder(scan: Scan, models: Path) -> None:
    folder = make_folder(models, "gone")
    assert scan() == ["gone"]
    shutil.rmtree(folder)
    assert scan() == []


def test_a_registered_folder_that_is_gone_says_so(scan: Scan, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "elsewhere", "own")
    library.register(folder)
    assert scan() == ["own"]
    shutil.rmtree(folder)
    assert scan() == ["own"]
    assert "no longer there" in Model.objects.get().error_message


def test_registering_twice_gives_the_same_row(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "own")
    assert library.register(folder) == library.register(folder)


def test_a_broken_folder_is_listed_with_its_reason(scan: Scan, models: Path) -> None:
    make_folder(models, "cut", files={"config.json": "{"})
    assert scan() == ["cut"]
    assert "config.json is damaged" in Model.objects.get().error_message


def test_a_mended_folder_is_ready(scan: Scan, models: Path) -> None:
    folder = make_folder(models, "cut", files={"config.json": "{"})
    scan()
    write(folder / "config.json", CONFIG)
    scan()
    assert Model.objects.ready().count() == 1


def test_folders_may_be_sorted_by_author(scan: Scan, models: Path) -> None:
    make_folder(models / "mlx-community", "sorted")
    assert scan() == ["sorted"]


def test_hidden_folders_and_files_are_left_alone(scan: Scan, models: Path) -> None:
    make_folder(models, ".partial")
    write(models / "notes.txt", "mine")
    assert scan() == []


def test_a_taken_name_gets_its_author_then_a_number(scan: Scan, models: Path, cache: Path) -> None:
    make_folder(models, "same")
    make_folder(models / "sorted", "same")
    make_cached(cache, "org/same")
    assert scan() == ["org-same", "same", "same-2"]


def test_letters_that_mean_something_else_are_replaced(scan: Scan, models: Path) -> None:
    make_folder(models, "qwen@home:v1")
    assert scan() == ["qwen-home-v1"]


def test_a_repository_without_safetensors_is_not_listed(scan: Scan, cache: Path) -> None:
    make_cached(cache, "org/pickled", files={"model.safetensors": None})
    write(cache / "models--org--odd" / "refs" / "main", "../../../etc")
    write(cache / "datasets--org--data" / "refs" / "main", "a" * 40)
    assert scan() == []


@pytest.mark.parametrize(
    ("chosen", "variables", "expected"),
    [
        ("/set", {"HF_HUB_CACHE": "/cache", "HF_HOME": "/home"}, "/set"),
        ("", {"HF_HUB_CACHE": "/cache", "HF_HOME": "/home"}, "/cache"),
        ("", {"HF_HOME": "/home"}, "/home/hub"),
        ("", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ("", {}, "/me/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hub_library_has_it(
    monkeypatch: pytest.MonkeyPatch, chosen: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(hub_cache(chosen)) == expected


def test_memory_is_estimated_by_the_engine(scan: Scan, models: Path) -> None:
    make_folder(models, "m")
    scan()
    model = Model.objects.get()
    assert model.memory_bytes > model.weights_bytes > 0
