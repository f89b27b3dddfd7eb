"""Models in the admin: facts to read, settings to change."""

import pytest
from django.test import Client

from models_app.models import Model
from tests.factories import make_model

pytestmark = pytest.mark.django_db
CHANGES = "/admin/models_app/model/"
SETTINGS = {"name": "renamed", "defaults": '{"temperature": 0.5}', "kv_quantization": "8",
            "pinned": "on", "keep_alive_minutes": "5"}  # fmt: skip


@pytest.fixture
def admin(admin_client: Client) -> Client:
    """With the Host header that every browser sends, and the test client does not."""
    admin_client.defaults["HTTP_HOST"] = "testserver"
    return admin_client


def test_models_are_listed(admin: Client) -> None:
    make_model("listed", error_message="It is damaged.")
    assert b"listed" in admin.get(CHANGES).content


def test_settings_are_written_and_facts_are_not(admin: Client) -> None:
    model = make_model("echo", parameters=7)
    posted = {**SETTINGS, "parameters": "9", "path": "/etc"}
    assert admin.post(f"{CHANGES}{model.pk}/change/", posted).status_code == 302
    model.refresh_from_db()
    assert (model.name, model.pinned, model.keep_alive_minutes) == ("renamed", True, 5.0)
    assert (model.defaults, model.kv_quantization) == ({"temperature": 0.5}, 8)
    assert (model.parameters, model.path) == (7, "echo")


@pytest.mark.parametrize("name", ["a@b", "a:b", "a/b", "a\nb", ""])
def test_a_name_that_means_something_else_is_refused(admin: Client, name: str) -> None:
    model = make_model("echo")
    response = admin.post(f"{CHANGES}{model.pk}/change/", {**SETTINGS, "name": name})
    assert response.status_code == 200
    assert Model.objects.get().name == "echo"


def test_a_row_with_a_folder_is_not_deleted_here(admin: Client) -> None:
    model = make_model("echo", source="folder")
    assert admin.post(f"{CHANGES}{model.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Model.objects.exists()
