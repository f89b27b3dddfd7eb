"""From a wish to a model in the library: rows, a runner ticked by hand, children, a local hub."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxgui.engine.errors import BadRequest
from mlxgui.home import Home
from mlxgui.jobs.models import Status
from mlxgui.jobs.runner import JobRunner
from mlxgui.system.models import Setting
from models_app.downloads import Download, hub_token
from models_app.library import chosen_hub_cache, scan
from models_app.models import Model
from tests.hub import Hub
from tests.jobs.test_children import until
from tests.jobs.test_runner import until_status
from tests.models_app.folders import CONFIG, TEMPLATE, safetensors, tokenizer

pytestmark = pytest.mark.django_db

NAME = "author/tiny-4bit"
WIDE = {
    "model.embed_tokens.weight": ("F32", (32, 8)),
    "model.norm.weight": ("F32", (100_000,)),
}


@pytest.fixture
def hub(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    settings.HOME = Home(tmp_path / "home")
    settings.HOME.make()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "")
    with Hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        made.add(NAME, repository())
        yield made
        for job in Download.objects.all():
            job.folder.signal(signal.SIGKILL)


def repository() -> dict[str, bytes]:
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": json.dumps(tokenizer()).encode(),
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}).encode(),
        "model.safetensors": safetensors(WIDE),
    }


@pytest.fixture
def runner() -> JobRunner:
    return JobRunner()


@pytest.mark.server
def test_a_download_ends_as_a_model_of_the_library(hub: Hub, runner: JobRunner) -> None:
    job = Download.objects.begin(NAME, "my-model")
    until_status(runner, job, Status.SUCCEEDED)
    model = Model.objects.resolve(NAME)
    assert (model.name, model.error_message) == ("my-model", "")
    assert Model.objects.resolve("my-model") == model
    assert job.done_bytes == job.total_bytes == sum(map(len, repository().values()))
    assert job.commit == model.version


@pytest.mark.server
def test_a_scan_does_not_see_what_is_not_finished(hub: Hub, runner: JobRunner) -> None:
    hub.knobs.hold["model.safetensors"] = 300_000
    job = Download.objects.begin(NAME)
    runner.tick()
    assert hub.held.wait(20)
    scan()
    assert not Model.objects.filter(huggingface_id=NAME).exists()
    until(lambda: job.folder.last_progress().get("files"))
    runner.tick()
    job.refresh_from_db()
    assert 0 < job.progress < 1
    assert job.files[0][0] == "model.safetensors"


@pytest.mark.server
def test_cancelled_it_leaves_nothing_behind(hub: Hub, runner: JobRunner) -> None:
    hub.knobs.hold["model.safetensors"] = 100_000
    job = Download.objects.begin(NAME)
    runner.tick()
    assert hub.held.wait(20)
    job.request_cancel()
    until_status(runner, job, Status.CANCELLED)
    assert list(chosen_hub_cache().iterdir()) == []


@pytest.mark.server
def test_paused_and_resumed_it_does_not_start_over(hub: Hub, runner: JobRunner) -> None:
    hub.knobs.hold["model.safetensors"] = 300_000
    job = Download.objects.begin(NAME)
    runner.tick()
    assert hub.held.wait(20)
    place = chosen_hub_cache() / "models--author--tiny-4bit" / "unfinished"
    until(lambda: any(file.stat().st_size > 100_000 for file in place.glob("*.part")))
    job.request_pause()
    until_status(runner, job, Status.PAUSED)
    hub.go.set()
    before = hub.served["model.safetensors"]
    assert Download.objects.begin(NAME) == job
    until_status(runner, job, Status.SUCCEEDED)
    assert hub.served["model.safetensors"] - before < 330_000
    assert Model.objects.resolve(NAME).error_message == ""


@pytest.mark.server
def test_the_token_travels_in_the_environment_only(hub: Hub, runner: JobRunner) -> None:
    hub.repositories[NAME].gated = True
    hub.knobs.token = "hf_secret"
    Setting.objects.write("huggingface_token", "hf_secret")
    job = Download.objects.begin(NAME)
    runner.tick()
    assert "hf_secret" not in (job.folder.path / "job.json").read_text()
    until_status(runner, job, Status.SUCCEEDED)


@pytest.mark.server
def test_a_gated_model_fails_with_what_to_do(hub: Hub, runner: JobRunner) -> None:
    hub.repositories[NAME].gated = True
    job = Download.objects.begin(NAME)
    until_status(runner, job, Status.FAILED)
    assert "huggingface_token" in job.error


def test_one_repository_is_fetched_once(hub: Hub) -> None:
    assert Download.objects.begin(NAME) == Download.objects.begin(NAME, "other")
    assert Download.objects.count() == 1


@pytest.mark.parametrize(
    "name", ["no-slash", "a/b/c", "../etc/x", "a/..", "a/b c", "", "a/--b", "a/b\n"]
)
def test_what_is_no_repository_is_refused(hub: Hub, name: str) -> None:
    with pytest.raises(BadRequest):
        Download.objects.begin(name)


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"])
def test_the_setting_goes_before_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv(variable, "hf_env")
    assert hub_token() == "hf_env"
    Setting.objects.write("huggingface_token", "hf_row")
    assert hub_token() == "hf_row"
    assert Setting.objects.as_dict()["huggingface_token"] == "********"


def test_names_of_models_find_their_download(hub: Hub) -> None:
    job = Download.objects.begin(NAME, "chosen")
    for name in (NAME, "chosen"):
        assert Download.objects.named(name) == job
    other = Download.objects.begin("author/other")
    assert Download.objects.named("other") == other
    assert Download.objects.named("none") is None
    shutil.rmtree(job.folder.path, ignore_errors=True)
