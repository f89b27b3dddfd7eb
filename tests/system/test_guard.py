"""Who may ask: hosts, sites and keys, at the middleware and at the socket."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mlxgui.system.guard import Asking, guard_socket, refusal
from mlxgui.system.paths import is_api

OWN = "http://localhost:8000"


def asking(**changes: Any) -> Asking:
    plain = Asking("POST", "/v1/chat/completions", "localhost:8000", None, "", "")
    return plain._replace(**changes)


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", None, None),
        ("POST", OWN, None),
        ("POST", "HTTP://LOCALHOST:8000", None),
        ("POST", "http://localhost:3000", 403),
        ("PUT", "https://evil.example", 403),
        ("PATCH", "null", 403),
        ("DELETE", "", 403),
        ("DELETE", "http://localhost:8000.evil.example", 403),
        ("WEBSOCKET", "https://evil.example", 403),
        ("WEBSOCKET", OWN, None),
        ("GET", "https://evil.example", None),
    ],
)
def test_another_site_may_look_but_not_change(
    method: str, origin: str | None, status: int | None
) -> None:
    refused = refusal(asking(method=method, origin=origin))
    assert (refused.status if refused else None) == status


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_this_computers_names_are_known(host: str) -> None:
    assert refusal(asking(host=host)) is None


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example", "a b", "10.0.0.1"])
def test_any_other_host_is_refused(host: str) -> None:
    refused = refusal(asking(host=host))
    assert refused is not None
    assert refused.status == 400


@pytest.mark.django_db
def test_a_body_that_is_too_large_is_refused_unread(client: Client) -> None:
    answer = client.put("/v1/settings/server_port", headers={"Content-Length": str(1 << 40)})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"X-Api-Key": "y"}])
@pytest.mark.django_db
def test_without_a_configured_key_any_key_will_do(client: Client, headers: dict[str, str]) -> None:
    assert client.get("/v1/settings", headers=headers).status_code == 200


class TestWithKey:
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLX_GUI_API_KEY", "sesame")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Basic sesame"}, 401),
            ({"X-Api-Key": "sésame"}, 401),
            ({"Authorization": "Bearer sesame"}, 200),
            ({"Authorization": "bearer sesame"}, 200),
            ({"X-Api-Key": "sesame"}, 200),
        ],
    )
    @pytest.mark.django_db
    def test_the_api_wants_it(self, client: Client, headers: dict[str, str], status: int) -> None:
        answer = client.get("/v1/settings", headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json()["error"]["code"] == "invalid_api_key"

    def test_health_stays_public(self, client: Client) -> None:
        assert client.get("/health").status_code == 200

    @pytest.mark.django_db
    def test_a_browser_enters_it_once(self, client: Client) -> None:
        sent = client.get("/training/")
        assert sent.status_code == 302
        assert sent["Location"] == "/key/?next=/training/"
        wrong = client.post(sent["Location"], {"key": "guess"})
        assert "not the key of this server" in wrong.text
        right = client.post(sent["Location"], {"key": "sesame"})
        assert right["Location"] == "/training/"
        assert right.cookies["mlx-gui-key"]["httponly"]
        assert client.get("/training/").status_code == 200

    @pytest.mark.django_db
    def test_a_fragment_is_refused_and_not_sent_on(self, client: Client) -> None:
        answer = client.get("/library/downloads/indicator/", headers={"HX-Request": "true"})
        assert answer.status_code == 401

    @pytest.mark.django_db
    def test_a_cookie_is_worthless_once_the_key_has_changed(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.post("/key/", {"key": "sesame"})
        monkeypatch.setenv("MLX_GUI_API_KEY", "another")
        assert client.get("/training/").status_code == 302

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil"])
    @pytest.mark.django_db
    def test_after_the_key_nobody_is_sent_to_another_site(
        self, client: Client, target: str
    ) -> None:
        answer = client.post(f"/key/?next={target}", {"key": "sesame"})
        assert answer["Location"] == "/chat/"

    async def test_a_socket_wants_it(self) -> None:
        assert await opened({}) is False
        assert await opened({"authorization": "Bearer sesame"}) is True


async def opened(headers: dict[str, str]) -> bool:
    """Whether a socket with these headers reaches the application behind the guard."""
    reached = False
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached = True

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = {"host": "localhost:8000", **headers}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "websocket", "path": "/ws/chat/", "headers": pairs}
    await guard_socket(application)(scope, receive, send)
    assert reached or [message["type"] for message in sent] == ["websocket.close"]
    return reached


async def test_a_socket_of_another_site_is_closed() -> None:
    assert await opened({"origin": OWN}) is True
    assert await opened({"origin": "https://evil.example"}) is False


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", True),
        ("/v1/models", True),
        ("/models", True),
        ("/api/engine/models", True),
        ("/chat/completions", True),
        ("/unknown", True),
        ("", True),
        ("/chat/", False),
        ("/chat/0190/", False),
        ("/admin/login/", False),
        ("/library/", False),
    ],
)
def test_pages_are_told_from_the_api(path: str, answer: bool) -> None:
    assert is_api(path) is answer


@pytest.mark.parametrize(
    ("path", "headers", "is_json"),
    [
        ("/v1/nothing", {}, True),
        ("/nothing", {}, True),
        ("/nothing", {"Accept": "text/html"}, False),
        ("/library/nothing/", {}, False),
    ],
)
@pytest.mark.django_db
def test_an_unknown_address_answers_in_the_askers_words(
    client: Client, path: str, headers: dict[str, str], is_json: bool
) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 404
    if is_json:
        assert answer.json()["error"]["code"] == "not_found"
        assert path in answer.json()["detail"]
    else:
        assert "There is nothing here" in answer.text


@pytest.mark.django_db
def test_pages_carry_a_strict_policy_and_api_answers_their_type(client: Client) -> None:
    page: Callable[[str], str] = client.get("/training/").headers.__getitem__
    assert "script-src 'self'" in page("Content-Security-Policy")
    assert page("X-Frame-Options") == "DENY"
    answer = client.get("/health")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert int(answer["Content-Length"]) == len(answer.content)
