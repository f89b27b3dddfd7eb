"""Deleting from the Library page: what it says, and what it does."""

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from mlxgui.home import Home
from mlxgui.runtime import Runtime
from models_app.folders import candidates
from models_app.library import record, register, scan
from models_app.models import Model, Source
from tests.factories import make_model
from tests.models_app.folders import make_folder

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def home(settings: Any, tmp_path: Path) -> Home:
    settings.HOME = Home(tmp_path / "home")
    settings.HOME.make()
    return settings.HOME


async def listed(folder: Path) -> Model:
    await sync_to_async(scan)()
    return await Model.objects.aget(path=str(folder))


async def test_it_says_what_goes_and_then_it_goes(
    async_client: AsyncClient, runtime: Runtime, home: Home
) -> None:
    folder = make_folder(home.models, "tiny")
    model = await listed(folder)
    path = f"/library/{model.pk}/delete/"
    page = (await async_client.get(path)).content.decode()
    assert "come back" in page and str(folder) in page
    assert folder.exists()
    response = await async_client.post(path, follow=True)
    assert "tiny was deleted." in response.content.decode()
    assert not folder.exists()


async def test_the_files_can_be_kept(
    async_client: AsyncClient, runtime: Runtime, home: Home
) -> None:
    folder = make_folder(home.models, "tiny")
    model = await listed(folder)
    response = await async_client.post(f"/library/{model.pk}/delete/", {"keep": "on"}, follow=True)
    assert "Its files are where they were" in response.content.decode()
    assert folder.exists()


async def test_files_elsewhere_stay_unless_asked_for(
    async_client: AsyncClient, runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "elsewhere", "mine")
    model = await sync_to_async(register)(folder)
    page = (await async_client.get(f"/library/{model.pk}/delete/")).content.decode()
    assert "stay where they are" in page
    await async_client.post(f"/library/{model.pk}/delete/")
    assert folder.exists()
    model = await sync_to_async(register)(folder)
    await async_client.post(f"/library/{model.pk}/delete/", {"outside": "on"})
    assert not folder.exists()


async def test_the_starter_stays(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await sync_to_async(make_model)("starter", source="starter")
    page = (await async_client.get(f"/library/{model.pk}/delete/")).content.decode()
    assert "it stays" in page
    assert 'id="delete"' not in page
    await async_client.post(f"/library/{model.pk}/delete/")
    assert await Model.objects.filter(pk=model.pk).aexists()


def test_models_of_lm_studio_are_listed_and_only_forgotten(home: Home, tmp_path: Path) -> None:
    studio = tmp_path / "lmstudio"
    folder = make_folder(studio / "author", "Tiny-4bit")
    (studio / "author" / "Other-GGUF").mkdir()
    record(candidates(home.models, tmp_path / "cache", studio))
    model = Model.objects.get(source=Source.LM_STUDIO)
    assert (model.huggingface_id, model.error_message) == ("author/Tiny-4bit", "")
    from models_app.removal import remove

    assert remove(model).files is False
    record(candidates(home.models, tmp_path / "cache", studio))
    assert not Model.objects.filter(source=Source.LM_STUDIO).exists()
    assert folder.exists()
