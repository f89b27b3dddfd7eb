"""A secret setting is written and used, and never shown: not by the API, not in the admin."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from mlxgui.system.models import Setting

pytestmark = pytest.mark.django_db

SECRET = "hf_abcdefgh"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada", password="correct horse"))
    return client


@pytest.mark.django_db(transaction=True)
async def test_the_api_takes_it_and_hides_it(async_client: AsyncClient) -> None:
    body = json.dumps({"value": SECRET})
    path = "/v1/settings/huggingface_token"
    response = await async_client.put(path, body, content_type="application/json")
    written = {"key": "huggingface_token", "value": "********", "updated": True}
    assert response.json() == {**written, "applies": "at once"}
    listed = await async_client.get("/v1/settings")
    assert SECRET not in listed.content.decode()
    assert listed.json()["huggingface_token"] == "********"
    assert await Setting.objects.avalue("huggingface_token") == SECRET


def test_the_admin_never_shows_it_and_an_empty_field_keeps_it(admin: Client) -> None:
    Setting.objects.write("huggingface_token", SECRET)
    page = "/admin/system/setting/huggingface_token/change/"
    for path in (page, "/admin/system/setting/"):
        assert SECRET not in admin.get(path).content.decode()
    admin.post(page, {"value": ""})
    assert Setting.objects.value("huggingface_token") == SECRET
    admin.post(page, {"value": "hf_other"})
    assert Setting.objects.value("huggingface_token") == "hf_other"


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "ключ"])
def test_what_is_no_token_is_refused(value: str) -> None:
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        Setting.objects.write("huggingface_token", value)
