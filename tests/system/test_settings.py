"""Settings as rows: types, ranges, defaults; in code, in the admin, over the API."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import AsyncClient, Client

from mlxgui.system.definitions import DEFINITIONS
from mlxgui.system.models import Setting
from mlxgui.system.signals import setting_changed

pytestmark = pytest.mark.django_db

DOCUMENTED = {
    "server_port": 8000,
    "max_concurrent_requests": 5,
    "auto_unload_inactive_models": True,
    "model_inactivity_timeout_minutes": 30,
    "enable_system_tray": True,
    "log_level": "INFO",
    "huggingface_cache_dir": "",
    "enable_gpu_acceleration": True,
    "bind_to_all_interfaces": False,
}


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada", password="correct horse"))
    return client


def test_defaults_are_the_documented_ones() -> None:
    assert DOCUMENTED.items() <= Setting.objects.as_dict().items()


def test_every_definition_accepts_its_own_default() -> None:
    for definition in DEFINITIONS.values():
        assert definition.clean(definition.default) == definition.default


def test_a_row_without_a_value_follows_its_default() -> None:
    assert set(Setting.objects.values_list("key", flat=True)) == set(DEFINITIONS)
    assert Setting.objects.value("server_port") == 8000


def test_a_written_value_is_read_back_until_reset() -> None:
    assert Setting.objects.write("server_port", 9000) == 9000
    assert Setting.objects.value("server_port") == 9000
    Setting.objects.reset("server_port")
    assert Setting.objects.value("server_port") == 8000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server_port", 0),
        ("server_port", 65536),
        ("server_port", "9000"),
        ("server_port", True),
        ("server_port", 90.5),
        ("server_port", None),
        ("auto_unload_inactive_models", 1),
        ("auto_unload_inactive_models", "yes"),
        ("log_level", "LOUD"),
        ("log_level", 10),
        ("huggingface_cache_dir", "relative/folder"),
        ("huggingface_cache_dir", "/no/such/folder/anywhere"),
        ("bind_to_all_interfaces", True),
        ("no_such_setting", 1),
    ],
)
def test_a_value_that_does_not_fit_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Setting.objects.write(key, value)


def test_listening_wider_is_accepted_once_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_GUI_API_KEY", "sesame")
    assert Setting.objects.write("bind_to_all_interfaces", True) is True


def test_a_stored_value_that_no_longer_fits_counts_as_none() -> None:
    Setting.objects.filter(key="server_port").update(value="eighty")
    assert Setting.objects.value("server_port") == 8000


def test_a_change_is_announced() -> None:
    heard: list[tuple[str, Any]] = []

    def listen(key: str, value: object, **kwargs: Any) -> None:
        heard.append((key, value))

    setting_changed.connect(listen)
    try:
        Setting.objects.write("max_concurrent_models", 2)
        Setting.objects.reset("max_concurrent_models")
    finally:
        setting_changed.disconnect(listen)
    assert heard == [("max_concurrent_models", 2), ("max_concurrent_models", 3)]


@pytest.mark.django_db(transaction=True)
async def test_settings_can_be_used_from_asynchronous_code() -> None:
    assert await Setting.objects.awrite("max_waiting_requests", 7) == 7
    assert await Setting.objects.avalue("max_waiting_requests") == 7
    assert (await Setting.objects.aas_dict())["max_waiting_requests"] == 7


# -- the admin ------------------------------------------------------------------------------------


def test_the_admin_lists_every_setting_with_its_description(admin: Client) -> None:
    page = admin.get("/admin/system/setting/").text
    for key in DEFINITIONS:
        assert key in page


@pytest.mark.parametrize(
    ("key", "control"),
    [
        ("server_port", '<input type="number" name="value" value="8000" min="1" max="65535"'),
        ("auto_unload_inactive_models", '<input type="checkbox" name="value"'),
        ("log_level", '<select name="value"'),
        ("huggingface_cache_dir", '<input type="text" name="value"'),
    ],
)
def test_the_form_has_the_field_of_its_type(admin: Client, key: str, control: str) -> None:
    assert control in admin.get(f"/admin/system/setting/{key}/change/").text


def test_the_admin_saves_a_value_and_refuses_one_out_of_range(admin: Client) -> None:
    address = "/admin/system/setting/server_port/change/"
    assert admin.post(address, {"value": "70000"}).status_code == 200
    assert Setting.objects.value("server_port") == 8000
    assert admin.post(address, {"value": "9001"}).status_code == 302
    assert Setting.objects.value("server_port") == 9001


def test_an_unchecked_box_is_false(admin: Client) -> None:
    admin.post("/admin/system/setting/auto_unload_inactive_models/change/", {})
    assert Setting.objects.value("auto_unload_inactive_models") is False


def test_the_admin_resets_to_the_default(admin: Client) -> None:
    Setting.objects.write("server_port", 9000)
    chosen = {"action": "reset_to_default", "_selected_action": ["server_port"]}
    assert admin.post("/admin/system/setting/", chosen).status_code == 302
    assert Setting.objects.value("server_port") == 8000


def test_settings_are_neither_added_nor_deleted(admin: Client) -> None:
    assert admin.get("/admin/system/setting/add/").status_code == 403
    assert admin.get("/admin/system/setting/server_port/delete/").status_code == 403


# -- the API --------------------------------------------------------------------------------------


async def put(client: AsyncClient, key: str, body: str) -> tuple[int, dict[str, Any]]:
    answer = await client.put(f"/v1/settings/{key}", body, content_type="application/json")
    return answer.status_code, json.loads(answer.content)


@pytest.mark.django_db(transaction=True)
async def test_the_api_shows_and_changes_settings(async_client: AsyncClient) -> None:
    shown = (await async_client.get("/v1/settings")).json()
    assert DOCUMENTED.items() <= shown.items()
    status, body = await put(async_client, "model_inactivity_timeout_minutes", '{"value": 60}')
    assert status == 200
    written = {"key": "model_inactivity_timeout_minutes", "value": 60, "updated": True}
    assert body == {**written, "applies": "at once"}


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        ("no_such_setting", '{"value": 1}', 404),
        ("server_port", '{"value": 0}', 400),
        ("server_port", '{"value": [1]}', 400),
        ("server_port", '{"port": 9000}', 400),
        ("server_port", "not JSON", 400),
        ("server_port", "", 400),
    ],
)
@pytest.mark.django_db(transaction=True)
async def test_the_api_refuses_what_does_not_fit(
    async_client: AsyncClient, key: str, body: str, status: int
) -> None:
    answered, said = await put(async_client, key, body)
    assert (answered, list(said)) == (status, ["detail"])
