"""The first account, and what the root and the status addresses say."""

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

pytestmark = pytest.mark.django_db

ACCOUNT = {"username": "ada", "password1": "correct horse 7", "password2": "correct horse 7"}


def test_the_first_visit_to_the_admin_makes_an_account_and_logs_in(client: Client) -> None:
    first = client.get("/admin/", follow=True)
    assert first.redirect_chain[-1][0] == "/setup/"
    assert client.post("/setup/", ACCOUNT)["Location"] == "/admin/"
    assert client.get("/admin/system/setting/").status_code == 200
    assert User.objects.get().is_superuser


def test_the_setup_page_is_gone_once_an_account_exists(client: Client) -> None:
    User.objects.create_superuser("ada", password="correct horse")
    assert client.get("/setup/").status_code == 404
    assert client.post("/setup/", ACCOUNT).status_code == 404
    assert "/admin/login/" in client.get("/admin/")["Location"]
    assert client.get("/admin/login/").status_code == 200


def test_a_weak_password_makes_no_account(client: Client) -> None:
    weak = ACCOUNT | {"password1": "12345", "password2": "12345"}
    assert "too short" in client.post("/setup/", weak).text
    assert not User.objects.exists()


def test_the_setup_page_wants_a_form_token() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/setup/", ACCOUNT).status_code == 403
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "extra",
    [
        {"REMOTE_ADDR": "192.168.1.20"},
        {"REMOTE_ADDR": ""},
        {"headers": {"X-Forwarded-For": "203.0.113.9"}},
    ],
)
def test_only_this_computer_may_make_the_first_account(client: Client, extra: dict) -> None:  # type: ignore[type-arg]
    assert client.get("/setup/", **extra).status_code == 404
    assert client.post("/setup/", ACCOUNT, **extra).status_code == 404
    assert not User.objects.exists()


def test_bound_wider_there_is_no_setup_page(client: Client, settings: LazySettings) -> None:
    settings.BOUND_TO_LOOPBACK = False
    assert client.get("/setup/").status_code == 404


async def test_the_root_greets_a_program_and_sends_a_browser_to_the_chat(
    async_client: AsyncClient, settings: LazySettings
) -> None:
    told = (await async_client.get("/")).json()
    assert told == {"name": "MLX-GUI API", "version": settings.VERSION, "status": "running"}
    sent = await async_client.get("/", headers={"Accept": "text/html,*/*"})
    assert (sent.status_code, sent["Location"]) == (302, "/chat/")


async def test_health_names_no_model_while_none_is_loaded(async_client: AsyncClient) -> None:
    told = (await async_client.get("/health")).json()
    assert told["status"] == "healthy"
    assert told["loaded_model"] is None
    assert told["loaded_adapter"] is None


@pytest.mark.django_db(transaction=True)
async def test_the_status_has_the_documented_fields(async_client: AsyncClient) -> None:
    told = (await async_client.get("/v1/system/status")).json()
    assert told["status"] == "running"
    memory = {"total_gb", "available_gb", "used_gb", "percent_used"}
    assert memory <= told["system"]["memory"].keys()
    assert {"total_gb", "available_gb", "device_name"} <= told["system"]["gpu_memory"].keys()
    assert told["system"]["memory"]["total_gb"] > 0
    assert told["model_manager"]["max_concurrent_models"] == 3
    assert told["model_manager"]["loaded_models_count"] == 0
    manager = (await async_client.get("/v1/manager/status")).json()
    assert manager["loaded_models"] == {}
    assert manager["queue_status"] == []
    assert manager["system_status"] == told["model_manager"]


async def test_other_methods_are_refused_in_json(async_client: AsyncClient) -> None:
    answer = await async_client.post("/v1/settings")
    assert answer.status_code == 405
    assert "detail" in answer.json()
